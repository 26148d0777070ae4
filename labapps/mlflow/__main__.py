"""Run the tracking server of this pod; with words behind it, look after it (see `chores`)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import time

from labapps.member import applied, log
from labapps.member.configmeta import CONFIGMETA, Configmeta, follow
from labapps.member.place import Place
from labapps.mlflow import backup, chores, hosts, production, schema, store
from labapps.mlflow.guard import Guard
from labapps.mlflow.journal import Journal
from labapps.mlflow.registrar import Registrar
from labapps.web.server import bind, serve

GRACE = 1
LOOK = 0.2
ROLE = "controller"
logger = logging.getLogger(__name__)


async def first(place: Place) -> Configmeta:
    """Wait for the configuration."""
    async for meta in follow(place.path(CONFIGMETA)):
        return meta
    raise RuntimeError("The configuration is followed for ever.")


async def keep_up(place: Place, guard: Guard) -> None:
    """Take over tokens and names whenever they change."""
    async for meta in follow(place.path(CONFIGMETA)):
        guard.tokens, guard.hosts = meta.tokens(), hosts.names(meta)
        applied.report(place, meta.digest)


async def end_for_restore(place: Place) -> None:
    """End the server when a restore was laid ready: its container starts again and takes it."""
    while not backup.is_laid_ready(place):
        await asyncio.sleep(LOOK)
    logger.info("a backup was laid ready; this server ends, and the next one takes it over")
    os.kill(os.getpid(), signal.SIGTERM)


def bring_up_to_date(place: Place, meta: Configmeta) -> None:
    """Migrate a database of an older release, after a backup; refuse one of a newer release."""
    found, wanted = schema.revision(store.database(place)), schema.head()
    if found in ("", wanted):
        return
    if not schema.is_known(found):
        sys.exit(
            f"Expected a database that MLflow {store.version()} can read, found revision {found} "
            "of a newer release. Order the application in that version again."
        )
    begun = store.database(place).with_name("migrating")
    if not begun.exists():  # a migration that broke off goes on: its backup is there
        saved = backup.save(place, meta, f"before-{wanted}-{time.time():.0f}")
        begun.write_text(saved.name)
    logger.info("migrating from %s to %s; backup %s", found, wanted, begun.read_text())
    schema.migrate(store.database(place))
    begun.unlink()


async def run() -> None:
    """Serve until SIGTERM; the port opens when the schema exists."""
    place = Place.from_env()
    applied.forget(place)
    meta = await first(place)
    if meta.role != ROLE:
        sys.exit(f"Expected the role {ROLE}; found {meta.role}.")
    if backup.take_over(place):
        logger.info("a backup was taken over")
    store.prepare(place, meta)
    os.environ.update(store.environment(place, meta))
    stores = production.Stores(place, meta) if production.is_wanted(meta) else None
    if stores is None:
        bring_up_to_date(place, meta)
    else:
        os.environ.update(stores.start())
    # In this thread: nothing else is to be done yet, and SIGTERM ends the process at once.
    application = store.load()
    moves = Journal(store.journal(place))
    found = functools.partial(store.folder, place, meta)
    guard = Guard(Registrar(application, store.Models(), moves, found), place.resolve)
    log.set_up()  # MLflow's import has its own ideas
    sockets = bind(place.listen, [place.port(store.PORT)])
    tasks = [
        asyncio.create_task(keep_up(place, guard)),
        asyncio.create_task(end_for_restore(place)),
    ]
    logger.info("%s: MLflow %s listens on %d", meta.host, store.version(), store.PORT)
    try:
        await serve(guard, sockets, grace=GRACE)
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if stores is not None:
            stores.stop()


def main() -> None:
    """Run the server; end without taking MLflow's modules apart, which takes seconds."""
    if sys.argv[1:]:
        sys.exit(chores.run(sys.argv[1:]))
    log.set_up()
    asyncio.run(run())
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
