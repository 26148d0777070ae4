"""MLflow's stores as in production: PostgreSQL and S3 instead of a file and a folder.

Which of the two a server has is said by the application that the kdcluster names, `mlflow` or
`mlflow-production`: its configMeta has `store`. The programs of both are the same.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from labapps import files
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labapps.member.programs import end_with_parent
from labapps.mlflow import store
from labapps.mlflow.postgres import Postgres, PostgresError

__all__ = ["Stores", "is_wanted"]

WANTED = "postgresql+s3"
PORT = 9000
PATIENCE = 60.0


def is_wanted(meta: Configmeta) -> bool:
    """Tell whether the application asks for PostgreSQL and S3."""
    groups = meta.document.get("nodegroups") or {}
    return any((one.get("config_metadata") or {}).get("store") == WANTED for one in groups.values())


class Stores:
    """PostgreSQL and an S3 server beside MLflow, in the same pod."""

    def __init__(self, place: Place, meta: Configmeta) -> None:
        self.place, self.meta = place, meta
        self.state = store.database(place).parent
        self.host = "127.0.0.1" if place.listen == "0.0.0.0" else place.listen
        self.postgres = Postgres(self.state, self.host)
        self.s3: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, str]:
        """Start both; return what MLflow has to know."""
        self.state.mkdir(parents=True, exist_ok=True)
        try:
            self.postgres.start()
        except PostgresError as error:
            sys.exit(str(error))
        keys = self._keys()
        bucket = store.artifacts(self.place, self.meta)
        bucket.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "labapps.mlflow.bucket"]
        words = [str(bucket.parent), self.host, str(PORT)]
        self.s3 = subprocess.Popen(
            [*command, *words], env=os.environ | keys, preexec_fn=end_with_parent
        )
        self._wait(self.s3)
        return keys | {
            "_MLFLOW_SERVER_FILE_STORE": self.postgres.url,
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{bucket.name}",
        }

    def stop(self) -> None:
        """End both; PostgreSQL last, when nobody writes any more."""
        if self.s3 is not None and self.s3.poll() is None:
            self.s3.terminate()
            self.s3.wait()
        self.postgres.stop()

    def _keys(self) -> dict[str, str]:
        """Return the key of the S3 server, made at the first start for its owner alone."""
        path: Path = self.state / "s3.key"
        if not path.exists():
            files.replace(path, f"{secrets.token_hex(10)} {secrets.token_hex(20)}", 0o600)
        key, secret = path.read_text().split()
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{self.host}:{PORT}",
        }

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Return when the S3 server answers: it refuses a request without a signature."""
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://{self.host}:{PORT}/", timeout=5)
            except urllib.error.HTTPError as error:
                if error.code == 403:
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit("Expected the S3 server to answer, found that it does not; its words are above.")
