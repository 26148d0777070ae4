"""Look after a tracking server, by commands that run in its pod beside it.

python -m labapps.mlflow backup NAME     copy databases and artefacts while the server runs
python -m labapps.mlflow backups         list the backups
python -m labapps.mlflow restore NAME    go back to a backup; the server starts again
python -m labapps.mlflow gc              remove what was deleted, with its files
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from labapps.member.configmeta import CONFIGMETA, Configmeta, read
from labapps.member.place import Place
from labapps.mlflow import backup, production, store
from labapps.mlflow.backup import BackupError

__all__ = ["run"]


def run(words: Sequence[str]) -> int:
    """Do what the words say; return the status for the shell."""
    arguments = _parser().parse_args(words)
    place = Place.from_env()
    meta = read(place.path(CONFIGMETA))
    if meta is None:
        print(
            f"Expected {CONFIGMETA}, found none: this is no member of a kdcluster.", file=sys.stderr
        )
        return 1
    try:
        if production.is_wanted(meta):
            raise BackupError(
                "Expected a server with SQLite, found one with PostgreSQL. Its own tools do this: "
                "pg_dump for the database, a copy of the bucket, and `mlflow gc`."
            )
        return int(arguments.do(place, meta, arguments))
    except BackupError as error:
        print(f"mlflow: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m labapps.mlflow", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, do in {"backup": _backup, "restore": _restore}.items():
        one = commands.add_parser(name)
        one.add_argument("name")
        one.set_defaults(do=do)
    commands.add_parser("backups").set_defaults(do=_list)
    clean = commands.add_parser("gc")
    clean.add_argument("--older-than", default="", help="such as 30d: what was deleted before that")
    clean.set_defaults(do=_gc)
    return parser


def _backup(place: Place, meta: Configmeta, arguments: argparse.Namespace) -> int:
    made = backup.save(place, meta, arguments.name)
    print(f"Backup {made.name}: {len(made.digests)} files, MLflow {made.release}.")
    return 0


def _list(place: Place, meta: Configmeta, arguments: argparse.Namespace) -> int:
    for one in backup.backups(place, meta):
        print(f"{one.made}  {one.name}  {len(one.digests)} files  MLflow {one.release}")
    return 0


def _restore(place: Place, meta: Configmeta, arguments: argparse.Namespace) -> int:
    laid = backup.lay_ready(place, meta, arguments.name)
    # The server ends within a second, and in a container this command with it.
    print(f"Backup {laid.name} of {laid.made} is laid ready; the server starts again with it.")
    return 0


def _gc(place: Place, meta: Configmeta, arguments: argparse.Namespace) -> int:
    """Let MLflow's own command do it; the files are removed through the server."""
    token = next(iter(sorted(meta.tokens())), "")
    settings = store.environment(place, meta)
    env = (
        os.environ
        | settings
        | {
            "MLFLOW_TRACKING_URI": f"http://{meta.host}:{store.PORT}",
            "MLFLOW_TRACKING_TOKEN": token,
        }
    )
    uri = settings["_MLFLOW_SERVER_FILE_STORE"]
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri]
    older = ["--older-than", arguments.older_than] if arguments.older_than else []
    return subprocess.run([*command, *older], env=env, check=False).returncode
