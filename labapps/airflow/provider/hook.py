"""The connection of the jobs' API: `AIRFLOW_CONN_JOBS`, of a connected Secret.

    {"conn_type": "http", "host": "http://…:10001", "password": "<API key>"}

The key is read where it is used and nowhere kept: triggers are stored in Airflow's database.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from labapps.airflow.provider.client import Jobs, Refused

__all__ = ["JobsHook", "jobs_of"]


class JobsHook(BaseHook):
    """Makes a client from a connection."""

    conn_name_attr = "jobs_conn_id"
    default_conn_name = "jobs"
    hook_name = "Workbench jobs"

    def __init__(self, jobs_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.jobs_conn_id = jobs_conn_id

    def get_conn(self) -> Jobs:
        """Return the client."""
        return jobs_of(self.get_connection(self.jobs_conn_id), self.jobs_conn_id)


def jobs_of(connection: Any, name: str) -> Jobs:
    """Return the client that an Airflow connection describes."""
    host, key = connection.host or "", connection.password or ""
    if not host or not key:
        raise Refused(
            f"The connection {name!r} needs a host and a password (the API key); set "
            f"AIRFLOW_CONN_{name.upper()} in a connected Secret."
        )
    if "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'http'}://{host}{port}"
    verify: bool | str = connection.extra_dejson.get("verify", True)
    return Jobs(host, key, verify)
