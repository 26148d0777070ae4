"""Errors that would fill pages are told in sentences; others keep their stack."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from kubernetes.client.exceptions import ApiException
from traitlets.config import Config

from labhelpers.errors import LabMissing
from labshow import trouble

pytestmark = pytest.mark.fast

JAVA = (
    """An error occurred while calling o77.saveAsTable.
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/a/b.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.taskFailed(QueryExecutionErrors.scala:776)
"""
    + "\tat java.base/java.lang.Thread.run(Unknown Source)\n" * 300
)


class Py4JJavaError(Exception):
    """Stands for the error of that name."""


Py4JJavaError.__module__ = "py4j.protocol"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config(
        {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}
    )
    made: Any = InteractiveShell.instance(config=config)
    made.user_ns |= {"Py4JJavaError": Py4JJavaError, "JAVA": JAVA, "LabMissing": LabMissing}
    monkeypatch.setitem(trouble._folders, "the project repository", lambda: tmp_path)
    trouble.tell()
    yield made
    InteractiveShell.clear_instance()


def said(shell: Any, code: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert not shell.run_cell(code).success
    return capsys.readouterr().out


def test_error_of_spark_is_a_sentence_and_its_stack_is_kept(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(shell, "x = 1\nraise Py4JJavaError(JAVA)", capsys)
    assert "Py4JJavaError: [TASK_WRITE_FAILED] Task failed while writing rows to b." in told
    assert "All of it: %tb" in told
    assert len(told.splitlines()) <= 4
    shell.run_line_magic("tb", "")
    assert "java.lang.Thread.run" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        f"OSError({errno.ENOSPC}, 'No space left on device', 'x.parquet')",
        "Py4JJavaError(JAVA + 'Caused by: java.io.IOException: No space left on device')",
        f"OSError({errno.EDQUOT}, 'Disk quota exceeded')",
    ],
)
def test_full_disk_says_what_to_do(
    shell: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    monkeypatch.setattr(trouble, "_free", lambda place: 3 * 2**20)
    told = said(shell, f"raise {error}", capsys)
    assert "Expected room to write, found none in the project repository" in told
    assert "3 MB free" in told
    assert "fewer `rows` need less" in told
    assert "java.lang.Thread" not in told


def test_refusal_of_the_cluster_is_its_message(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ApiException(status=403, reason="Forbidden")
    refused.body = '{"kind": "Status", "message": "secrets is forbidden: User \\"x\\" cannot"}'
    refused.headers = {"Audit-Id": "1", "Cache-Control": "no-cache, private"}
    shell.user_ns["refused"] = refused
    told = said(shell, "raise refused", capsys)
    assert 'ApiException: (403) secrets is forbidden: User "x" cannot' in told
    assert "Audit-Id" not in told


def test_failed_connection_names_who_did_not_answer(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(shell, "import requests; requests.get('https://127.0.0.1:1/x')", capsys)
    assert "ConnectionError: [Errno 111] Connection refused (127.0.0.1:1)" in told
    assert len(told.splitlines()) <= 4


def test_other_errors_are_shown_as_ever(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Traceback" in said(shell, "{}['a']", capsys)
    told = said(shell, "raise LabMissing('Run lab core-03 first.')", capsys)
    assert told.strip() == "LabMissing: Run lab core-03 first."
