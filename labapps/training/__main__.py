"""Run the training engine in the role that configmeta.json gives to this pod."""

from __future__ import annotations

import asyncio
import logging
import sys

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, follow
from labapps.member.place import Place
from labapps.training import loadbalancer, restserver

ROLES = {"RESTServer": restserver.run, "LoadBalancer": loadbalancer.run}


async def run() -> None:
    place = Place.from_env()
    applied.forget(place)
    async for meta in follow(place.path(CONFIGMETA)):
        if meta.role not in ROLES:
            sys.exit(f"Expected one of the roles {', '.join(ROLES)}; found {meta.role}.")
        logging.getLogger(__name__).info("%s: role %s", meta.host, meta.role)
        await ROLES[meta.role](place, meta)
        return


def main() -> None:
    log.set_up()
    # Not uvloop: aiohttp must look names up by the interpreter's own resolver.
    asyncio.run(run())


if __name__ == "__main__":
    main()
