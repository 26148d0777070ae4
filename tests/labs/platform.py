"""A platform for the labs, and eyes of our own to look at it with: never the labs' variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config

ROOT = Path(__file__).resolve().parents[2]
GROUP = {"group": "kubedirector.hpe.com", "version": "v1beta1"}
_BASH = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)


@dataclass
class Stage:
    """A running platform, the environment of its learner, and where replays leave their reports."""

    state: Path
    out: Path
    env: dict[str, str]

    @property
    def user(self) -> str:
        """Return the learner's name."""
        return self.env["EZMERAL_USER"]

    @property
    def repo(self) -> Path:
        """Return the tenant's project repository."""
        return Path(self.env["PROJECT_REPO"])

    @property
    def namespace(self) -> str:
        """Return the tenant's namespace."""
        return self.repo.name

    def replay(self, lab: str, *words: str) -> dict[str, Any]:
        """Run one lab headlessly and return what the report says of it."""
        settings = self.out / "platform.env"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self.env.items()))
        folder = self.out / lab.replace("/", "-")
        done = run(
            "labs",
            "replay",
            "--only",
            lab,
            "--platform",
            str(settings),
            "--out",
            str(folder),
            *words,
        )
        report = json.loads((folder / "report.json").read_text())
        (found,) = (entry for entry in report["labs"] if entry["lab"] == lab)
        assert found["status"] == "passed", f"{found['reason']}\n{done.stdout}\n{done.stderr}"
        return dict(found)

    def clients(self) -> tuple[client.CoreV1Api, client.CustomObjectsApi]:
        """Return clients of the platform's administrator."""
        api = config.new_client_from_config(str(self.state / "admin.conf"))
        return client.CoreV1Api(api), client.CustomObjectsApi(api)

    def kdclusters(self) -> dict[str, dict[str, Any]]:
        """Return the tenant's kdclusters by name."""
        _, custom = self.clients()
        listed = custom.list_namespaced_custom_object(
            namespace=self.namespace, plural="kubedirectorclusters", **GROUP
        )
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def gateway(self, kdcluster: str, port: int) -> tuple[str, str]:
        """Return the address and the token of a service port."""
        core, _ = self.clients()
        selector = f"kubedirector.hpe.com/kdcluster={kdcluster}"
        for service in core.list_namespaced_service(self.namespace, label_selector=selector).items:
            notes = service.metadata.annotations or {}
            if f"hpecp-internal-gateway/{port}" in notes:
                address = notes[f"hpecp-internal-gateway/{port}"]
                return f"https://{address}", notes.get("kubedirector.hpe.com/kd-auth-token", "")
        raise AssertionError(f"no gateway address for port {port} of {kdcluster}")

    def models(self) -> dict[str, dict[str, str]]:
        """Return the registered models of the learner by version."""
        core, _ = self.clients()
        listed = core.list_namespaced_config_map(
            self.namespace, label_selector="kubedirector.hpe.com/cmType=model"
        ).items
        return {item.data["model-version"]: item.data for item in listed}


def program(name: str) -> str:
    """Return the path of a console script of this environment."""
    return str(Path(sys.executable).with_name(name))


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of our programs."""
    return subprocess.run(
        [program(name), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=900,
        env=os.environ | {"COLUMNS": "120"},
    )


def shell_lines(lab: str) -> list[str]:
    """Return the shell blocks that stand beside the steps of a lab."""
    text = (ROOT / "notebooks" / "_src" / f"{lab}.py").read_text("utf-8")
    prose = "\n".join(
        line[2:] if line.startswith("# ") else ""
        for line in text.splitlines()
        if line.startswith("#")
    )
    return _BASH.findall(prose)


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
