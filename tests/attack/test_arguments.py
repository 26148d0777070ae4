"""Whoever may list processes, as pods and learners may, reads no secret in their command lines."""

from __future__ import annotations

import psutil
import pytest
import requests
import yaml

from tests.attack.arena import Arena, Count
from tests.attack.test_programs import neighbour
from tests.sandbox.platform.program import family, session

pytestmark = pytest.mark.sandbox


def words_of_all() -> dict[str, str]:
    """Return what /proc shows everybody: the command line of each process."""
    found = {}
    for process in psutil.process_iter(["pid", "cmdline"]):
        found[str(process.info["pid"])] = "\0".join(process.info["cmdline"] or [])
    return found


def test_no_command_line_holds_a_secret(arena: Arena) -> None:
    count = Count("secrets in command lines")
    arena.counts.append(count)
    neighbour(arena, arena.tenants["auditor"])  # a pod runs, with its account's token
    ours = {str(process.pid) for process in family(arena.state)}
    kept = [path.read_text() for path in (arena.state / "ezmeral" / "passwords").iterdir()]
    kept += [tenant.client.access.token or "" for tenant in arena.tenants.values()]
    kept += [(arena.state / "node/keeper.key").read_bytes().decode("latin-1")]
    shown = words_of_all()
    assert len(ours & shown.keys()) >= 3
    for pid, words in shown.items():
        for number, secret in enumerate(kept):
            count.add(f"process {pid}, secret {number}", len(secret) > 7 and secret in words)
    assert count.successes == []


def test_session_of_a_kubeconfig_is_no_argument(arena: Arena) -> None:
    """The plugin runs at each call of kubectl, where everybody can see its arguments."""
    begun = session(arena.environment, "student1")
    header = {"X-BDS-SESSION": begun.headers["Location"]}
    url = f"{arena.environment['EZMERAL_URL']}/api/v2/k8skubeconfig"
    ca = arena.environment["EZMERAL_CA"]
    text = requests.get(url, headers=header, verify=ca, timeout=30).text
    plugin = yaml.safe_load(text)["users"][0]["user"]["exec"]
    number = begun.headers["Location"].rpartition("/")[2]
    assert number in str(plugin["env"])
    assert number not in str(plugin["args"])
    assert number not in plugin["command"]
