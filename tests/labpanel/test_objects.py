"""The page of objects: its rows, what it leaves out, and what it says without a session."""

from __future__ import annotations

import html
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labpanel import evidence, objects

pytestmark = pytest.mark.fast

CLUSTER = {objects.CLUSTER: "git-ann", objects.ROLE: "server"}


def thing(name: str, labels: dict[str, str] | None = None, **more: Any) -> SimpleNamespace:
    meta = SimpleNamespace(name=name, labels=labels, annotations=more.pop("annotations", None))
    return SimpleNamespace(metadata=meta, **more)


def test_secret_is_named_and_its_content_is_not_read() -> None:
    one = thing("kc", {"kubedirector.hpe.com/secretType": "kubeconfig", objects.LAB: "core-02"})
    assert objects.secrets([one]) == [["kc", "kubeconfig", "core-02"]]


def test_cluster_says_what_it_is_connected_to() -> None:
    item = {
        "metadata": {"name": "nb", "labels": {objects.LAB: "core-02"}},
        "spec": {"app": "jupyter", "connections": {"clusters": ["t"], "secrets": ["s"], "x": None}},
        "status": {"state": "configured"},
    }
    bare = {"metadata": {"name": "new"}, "spec": {"app": "spark"}}
    assert objects.clusters([item, bare]) == [
        ["nb", "jupyter", "configured", "t, s", "core-02"],
        ["new", "spark", "new", "", ""],
    ]


def test_member_and_endpoint_are_told_by_cluster_and_role() -> None:
    state = SimpleNamespace(phase="Running", container_statuses=[SimpleNamespace(restart_count=2)])
    pod = thing("git-0", CLUSTER, status=state)
    assert objects.members([pod]) == [["git-0", "git-ann", "server", "Running", "2"]]
    notes = {
        "hpecp-internal-gateway/3000": "host:10001",
        "kubedirector.hpe.com/kd-auth-token": "f" * 32,
    }
    shown = objects.endpoints([thing("git", CLUSTER, annotations=notes)])
    assert shown == [["git-ann", "server", "3000", "https://host:10001"]]


def test_newest_events_come_first_and_one_without_a_time_is_left_out() -> None:
    def event(at: datetime | None, reason: str) -> SimpleNamespace:
        involved = SimpleNamespace(kind="Pod", name="p")
        return SimpleNamespace(
            last_timestamp=at, event_time=None, involved_object=involved, reason=reason, message="m"
        )

    old, new = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    rows = objects.events([event(old, "Old"), event(None, "Never"), event(new, "New")])
    assert [row[2] for row in rows] == ["New", "Old"]


def test_tables_and_model_files_are_the_learners_own(tmp_path: Path) -> None:
    log = tmp_path / "lakehouse/ann/trips/_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text('{"commitInfo":{"operation":"WRITE"}}\n')
    (log / f"{1:020}.json").write_text('{"add":{}}\n{"commitInfo":{"operation":"MERGE"}}\n')
    (tmp_path / "lakehouse/ben/trips/_delta_log").mkdir(parents=True)
    (tmp_path / "models/ann").mkdir(parents=True)
    (tmp_path / "models/ann/taxi.skops").write_bytes(bytes(2000))
    assert objects.tables(tmp_path, "ann") == [["trips", "2", "MERGE"]]
    assert objects.files(tmp_path, "ann") == [["taxi.skops", "2,000"]]
    assert objects.tables(None, "ann") == objects.files(None, "ann") == []


def test_page_says_what_to_do_without_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    sections, trouble = objects.look(tmp_path, "ann")
    assert (sections, trouble) == ([], objects.SIGN_IN)
    page = evidence.template("objects.html.j2").render(sections=sections, trouble=trouble)
    assert "Run lab core-01 again" in page
    assert "curl" not in page, "nothing to ask with"


def test_part_that_cannot_be_read_is_said_and_takes_nothing_along() -> None:
    def fail() -> objects.Rows:
        raise OSError("away")

    found = objects._section("T", "s", ("c",), ("a",), fail)
    assert found.trouble == "This could not be read: OSError."
    text = "<b>"
    lines = ("kubectl get pod", objects.asked("/api/v1/namespaces/ours/pods"))
    rows = objects.Section("T", "s", lines, ("a",), [[text]])
    page = evidence.template("objects.html.j2").render(
        sections=[found, rows], trouble="", proxy=objects.PROXY
    )
    assert "&lt;b&gt;" in page
    shown = [html.unescape(line) for line in re.findall(r'class="labs-line">(.*)</pre>', page)]
    assert shown == [objects.PROXY, "c", *lines], "each command in a line of its own, to copy"


def test_curl_asks_for_secrets_in_the_form_that_holds_no_content() -> None:
    line = objects.asked("/api/v1/namespaces/ours/secrets", objects.SECRETS, objects.TABLE)
    words = shlex.split(line)
    assert words[words.index("--header") + 1].startswith("Accept: application/json;as=Table;")
    assert words[-1].endswith("/secrets?labelSelector=kubedirector.hpe.com/secretType")
