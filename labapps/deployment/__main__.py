"""Run the deployment engine in the role that configmeta.json gives to this pod."""

from __future__ import annotations

import importlib
import logging
import os
import sys

import uvloop

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, follow
from labapps.member.place import Place

ROLES = {"RESTServer": "restserver", "LoadBalancer": "loadbalancer"}


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    async for meta in follow(place.path(CONFIGMETA)):
        if meta.role not in ROLES:
            sys.exit(f"Expected one of the roles {', '.join(ROLES)}; found {meta.role}.")
        logging.getLogger(__name__).info("%s: role %s", meta.host, meta.role)
        module = importlib.import_module(f"labapps.deployment.{ROLES[meta.role]}")
        await module.run(place, meta)
        return


def main() -> None:
    log.set_up()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it tells its maker which models are loaded
    uvloop.run(run())


if __name__ == "__main__":
    main()
