"""Airflow's own database on a connected PostgreSQL: made when it is not there yet."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql

__all__ = ["make"]

PATIENCE = 120.0
"""Seconds in which the server must answer: both pods may start at the same moment."""


def make(address: str) -> None:
    """Create the database that an address names; one that is there stays as it is."""
    where = urlsplit(address)
    name, end = where.path.lstrip("/"), time.monotonic() + PATIENCE
    while True:
        try:
            server = psycopg2.connect(
                host=where.hostname, port=where.port, user=where.username,
                password=where.password, dbname="postgres", connect_timeout=10,
            )  # fmt: skip
            break
        except psycopg2.OperationalError as error:
            if time.monotonic() > end:
                raise SystemExit(
                    f"Expected PostgreSQL at {where.hostname}:{where.port}, found: {error}. "
                    "Check the cluster that `connections.clusters` names."
                ) from None
            time.sleep(0.5)
    try:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        server.close()
