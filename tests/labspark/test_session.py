"""A real session: it starts, it is quiet, it ends, and it comes back after Java has died."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from pyspark import SparkContext
from pyspark.errors import NumberFormatException
from pyspark.sql import SparkSession

from labhelpers.deadline import wait
from labhelpers.errors import LabError
from labhelpers.spark import reason, refusal
from labspark import gateway, process
from labspark.errors import SparkUnavailable
from labspark.session import session

pytestmark = [
    pytest.mark.labs,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # pyspark's own
]


def test_session_is_one_per_process(spark: SparkSession) -> None:
    assert session("again") is spark


def test_session_keeps_wall_clock_times(spark: SparkSession) -> None:
    row = spark.sql("SELECT hour(TIMESTAMP '2024-03-10 02:30:00') AS hour").first()
    assert row is not None
    assert row["hour"] == 2


def test_session_leaves_no_connection_for_children(spark: SparkSession) -> None:
    assert "PYSPARK_GATEWAY_PORT" not in os.environ
    assert "PYSPARK_GATEWAY_SECRET" not in os.environ


def test_log_is_quiet_and_in_a_file(spark: SparkSession) -> None:
    log = gateway.log_path()
    assert log is not None
    before = len(log.read_bytes())  # other tests of this session have provoked errors
    assert spark.range(10).count() == 10
    assert log.read_bytes()[before:] == b""


def test_exception_that_is_raised_is_not_logged_as_well(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NumberFormatException, match="CAST_INVALID_INPUT"):
        spark.sql("SELECT CAST('60 months' AS double)").collect()
    assert [one.name for one in caplog.records] == []


def test_refusal_gives_the_sentence_that_matters(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal("nonsense", lambda: spark.sql("SELECT nothing"))
    assert said.startswith("[UNRESOLVED_COLUMN")
    assert capsys.readouterr().out.startswith("Refused, nonsense:\n    [UNRESOLVED_COLUMN")
    with pytest.raises(LabError, match="Expected Spark to refuse a question, found that it was"):
        refusal("a question", lambda: spark.sql("SELECT 1"))


def test_reason_finds_the_cause_in_a_page() -> None:
    page = (
        "An error occurred while calling o1.\n: a.b.OuterException: x\n\tat y\n"
        "Caused by: c.InnerException: the disk is full\n\tat z"
    )
    assert reason(ValueError(page)) == "the disk is full"


LIFE = """
import os, signal, sys
from labspark import gateway
from labspark.session import session
first = session("first")
java = gateway._running["process"].pid
print(first.range(3).count(), java, flush=True)
first.stop()
print(session("second").range(4).count(), gateway._running["process"].pid == java, flush=True)
os.kill(java, signal.SIGKILL)
gateway._running["process"].wait()
print(session("third").range(5).count(), gateway._running["process"].pid != java)
"""


def test_session_comes_back_after_stop_and_after_java_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_REPO", str(tmp_path))
    lines = process.run_python(LIFE).splitlines()
    assert lines[0].startswith("3 ")
    assert lines[1:] == ["4 True", "5 True"]
    java = int(lines[0].split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(java, 0)


CHILD = """
from labspark import gateway; from labspark.session import session
session("child"); print(gateway._running["process"].pid, gateway.log_path(), flush=True)
import sys; open(sys.argv[1], "w").write(str(gateway._running["process"].pid)); input()
"""


def test_java_ends_when_its_python_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_REPO", str(tmp_path))
    child = process.start_python(
        "import sys; sys.stdin = open('/dev/zero')\n" + CHILD, tmp_path / "pid"
    )
    java = int(wait("the child's Java", (tmp_path / "pid").read_text, deadline=120))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    def is_gone() -> bool:
        try:
            state = Path(f"/proc/{java}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        return state == "Z"

    wait("its end", is_gone, deadline=60, ignoring=())


def test_spark_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_LABS_JAVA_OPTIONS", "-Xmx1k")
    monkeypatch.setattr(gateway, "_running", {})
    for name in ("_gateway", "_jvm", "_active_spark_context"):
        monkeypatch.setattr(SparkContext, name, None)
    for name in ("_instantiatedSession", "_activeSession"):
        monkeypatch.setattr(SparkSession, name, None)
    with pytest.raises(SparkUnavailable, match="Too small maximum heap"):
        gateway.launch({}, classpath=[], archive=None, memory="100m")
