"""Run the workbench: in a pod of a kdcluster, or anywhere with a kubeconfig."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
from pathlib import Path

import aiohttp
import uvloop

from labapps import files
from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.web.server import bind, reply_with, serve
from labapps.workbench import connection, controller, kube, runtime
from labapps.workbench.api import Api
from labapps.workbench.bench import Bench
from labapps.workbench.database import DatabaseGone
from labapps.workbench.keys import Keys
from labapps.workbench.kube import KubeError
from labapps.workbench.layout import Layout
from labapps.workbench.manifest import Frame
from labapps.workbench.metrics import Metrics
from labapps.workbench.models import BuildController
from labapps.workbench.rollout import DeploymentController
from labapps.workbench.store import Store

PORT = 10001


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="labapps.workbench", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="another cluster than this pod's")
    parser.add_argument("--namespace", default="", help="the kubeconfig's own by default")
    parser.add_argument("--repository", type=Path, help="the project repository of its pods")
    parser.add_argument("--claim", default="", help="the claim of the project repository")
    parser.add_argument("--name", default="workbench", help="of this workbench, one per namespace")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT} by default")
    return parser.parse_args()


def own_key(folder: Path) -> frozenset[str]:
    """Return the administrator's key, made at the first start in a file that only they read."""
    path = folder / "key"
    if not path.exists():
        files.replace(path, secrets.token_urlsafe(32), 0o600)
    logging.getLogger(__name__).info("the administrator's API key is in %s", path)
    return frozenset({path.read_text().strip()})


async def run(
    access: kube.Access,
    layout: Layout,
    frame: Frame,
    host: str,
    port: int,
    place: Place | None = None,
) -> None:
    """Serve one workbench until it is stopped; in a pod follow what KubeDirector writes."""
    state = layout.state(frame.name)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    sockets = bind(host, [port])
    database = os.environ.pop("WORKBENCH_DATABASE", "")  # it may hold a password
    try:
        store = Store(database or state / "records.db")
        metrics = Metrics(database or state / "metrics.db")
    except DatabaseGone as problem:
        raise SystemExit(str(problem)) from problem
    client = kube.Kube(access)
    bench = Bench(store, client, layout, frame, metrics, runtime.runtimes())
    keys = Keys(store, own_key(state) if place is None else frozenset())
    api = Api(bench, keys)
    workers: list[controller.Worker] = [
        controller.RunController(bench),
        BuildController(bench),
        DeploymentController(bench),
    ]
    await api.projects.resume()
    tasks = [asyncio.create_task(controller.follow(bench, workers))]
    if place is not None:
        tasks.append(asyncio.create_task(keep_up(place, keys, bench)))
    else:
        await connection.share(bench, connection.of_process())
    try:
        await serve(reply_with(api.handle), sockets, grace=10)
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        api.calls.close()
        await client.close()
        metrics.close()
        store.close()


async def in_pod() -> None:
    """Serve as KubeDirector's member; the service's token is the administrator's key."""
    place = Place.from_env()
    applied.forget(place)
    meta = await first(place)
    claim = os.environ.get("WORKBENCH_CLAIM", "")
    frame = Frame(meta.cluster or "workbench", claim, meta.cluster_id, runtime.images())
    await run(
        kube.in_cluster(place.root),
        Layout.from_env(),
        frame,
        place.listen,
        place.port(PORT),
        place,
    )


async def keep_up(place: Place, keys: Keys, bench: Bench) -> None:
    """Take over the service's tokens and connections whenever they change."""
    async for meta in follow(place.path(CONFIGMETA)):
        keys.take(meta.tokens())
        env = connection.of_cluster(meta, bench.layout.trust())
        try:
            await connection.share(bench, env)
        except (KubeError, aiohttp.ClientError, OSError, TimeoutError) as error:
            logging.getLogger(__name__).warning("the connections are not shared: %s", error)
            continue
        applied.report(place, meta.digest)


async def first(place: Place) -> Configmeta:
    async for meta in follow(place.path(CONFIGMETA)):
        return meta
    raise SystemExit(f"Expected {CONFIGMETA}; it never came.")


def main() -> None:
    log.set_up()
    given = arguments()
    if given.kubeconfig is None:
        uvloop.run(in_pod())
        return
    layout = Layout(given.repository) if given.repository else Layout.from_env()
    access = kube.from_kubeconfig(given.kubeconfig, given.namespace)
    frame = Frame(given.name, given.claim, images=runtime.images())
    uvloop.run(run(access, layout, frame, given.host, given.port))


if __name__ == "__main__":
    main()
