"""What must be true of the platform after a lab, seen through files and the API, never through
the lab's own variables: the author of a lab does not mark his own homework."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as compute
import pyarrow.dataset as dataset
import pytest


@dataclass(frozen=True)
class Platform:
    """A running platform: its folder and the settings that labs get."""

    state: Path
    settings: dict[str, str]

    @property
    def repository(self) -> Path:
        """Return the tenant's project repository."""
        return Path(self.settings["PROJECT_REPO"])

    def core(self, kubeconfig: Path | None = None) -> Any:
        """Return the official client, for the administrator or for somebody's kubeconfig."""
        from kubernetes import client, config

        file = str(kubeconfig or self.state / "admin.conf")
        return client.CoreV1Api(config.new_client_from_config(file))


def authenticate(platform: Platform) -> None:
    """The learner's kubeconfig opens the tenant's namespace, and no other."""
    from kubernetes.client import ApiException

    kubeconfig = Path(platform.settings["KUBECONFIG"])
    assert kubeconfig.stat().st_mode & 0o077 == 0, "only the learner may read it"
    core = platform.core(kubeconfig)
    assert core.list_namespaced_pod("k8smltenant").items is not None
    with pytest.raises(ApiException) as refused:
        core.list_namespaced_pod("kube-system")
    assert refused.value.status == 403


def lakehouse(platform: Platform) -> None:
    """The table handed on holds, at its recorded version, what the record says."""
    [record] = platform.repository.glob("lakehouse/*/trips.json")
    said = json.loads(record.read_text())
    table = platform.repository / said["path"]
    files: set[str] = set()
    for version in range(said["version"] + 1):
        for line in (table / "_delta_log" / f"{version:020}.json").read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files.add(action["add"]["path"])
            if "remove" in action:
                files.discard(action["remove"]["path"])
    rows = dataset.dataset([str(table / name) for name in sorted(files)]).to_table()
    assert rows.num_rows == said["rows"] > 0
    assert compute.min(rows["duration"]).as_py() > 20
    assert set(rows.column_names) <= set(said["columns"])


AFTER: dict[str, Callable[[Platform], None]] = {
    "core/01": authenticate,
    "core/03": lakehouse,
}
