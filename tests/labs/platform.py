"""Eyes of our own to look at a platform with: its files and its API, never a lab's variables."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from kubernetes import client, config

from tests.repo.tree import ROOT

GROUP = {"group": "kubedirector.hpe.com", "version": "v1beta1"}
_BASH = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Platform:
    """A running platform: its folder and the settings that labs get."""

    state: Path
    settings: dict[str, str]

    @property
    def user(self) -> str:
        """Return the learner's name."""
        return self.settings["EZMERAL_USER"]

    @property
    def repository(self) -> Path:
        """Return the tenant's project repository."""
        return Path(self.settings["PROJECT_REPO"])

    @property
    def namespace(self) -> str:
        """Return the tenant's namespace."""
        return self.repository.name

    def api(self, kubeconfig: Path | None = None) -> Any:
        """Return the official client's connection, the administrator's or somebody's."""
        return config.new_client_from_config(str(kubeconfig or self.state / "admin.conf"))

    def core(self, kubeconfig: Path | None = None) -> Any:
        """Return the official client of the core API."""
        return client.CoreV1Api(self.api(kubeconfig))

    def kdclusters(self) -> dict[str, dict[str, Any]]:
        """Return the tenant's kdclusters by name."""
        listed = client.CustomObjectsApi(self.api()).list_namespaced_custom_object(
            namespace=self.namespace, plural="kubedirectorclusters", **GROUP
        )
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def gateway(self, kdcluster: str, port: int) -> tuple[str, str]:
        """Return the address and the token of a service port."""
        selector = f"kubedirector.hpe.com/kdcluster={kdcluster}"
        listed = self.core().list_namespaced_service(self.namespace, label_selector=selector)
        for service in listed.items:
            notes = service.metadata.annotations or {}
            if f"hpecp-internal-gateway/{port}" in notes:
                address = notes[f"hpecp-internal-gateway/{port}"]
                return f"https://{address}", notes.get("kubedirector.hpe.com/kd-auth-token", "")
        raise AssertionError(f"no gateway address for port {port} of {kdcluster}")

    @contextlib.contextmanager
    def signed_in(self, kdcluster: str, port: int) -> Iterator[tuple[str, requests.Session]]:
        """Return the address of a service port, and a session that its token opens."""
        address, token = self.gateway(kdcluster, port)
        with requests.Session() as http:
            http.trust_env, http.verify = False, self.settings["EZMERAL_CA"]
            http.headers["Authorization"] = f"Bearer {token}"
            yield address, http

    def models(self) -> dict[str, dict[str, str]]:
        """Return the registered models by version."""
        listed = self.core().list_namespaced_config_map(
            self.namespace, label_selector="kubedirector.hpe.com/cmType=model"
        )
        return {item.data["model-version"]: item.data for item in listed.items}


def shell_blocks(lab_file: str) -> list[str]:
    """Return the shell blocks that stand beside the steps of a lab."""
    text = (ROOT / "notebooks" / "_src" / f"{lab_file}.py").read_text("utf-8")
    prose = [line[2:] for line in text.splitlines() if line.startswith("#")]
    return _BASH.findall("\n".join(prose))


def rows_in_log(table: Path, version: int) -> int:
    """Count a Delta table's rows at a version from its log alone, without Spark or Delta."""
    import pyarrow.parquet as parquet

    files: set[str] = set()
    for number in range(version + 1):
        for line in (table / "_delta_log" / f"{number:020}.json").read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files.add(action["add"]["path"])
            if "remove" in action:
                files.discard(action["remove"]["path"])
    return sum(parquet.ParquetFile(table / file).metadata.num_rows for file in files)
