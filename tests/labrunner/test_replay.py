"""A replay of four small labs: one fails, one needs it, two pass; then every way to break one."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import psutil
import pytest
from rich.console import Console

from labhelpers.deadline import wait
from labrunner import notebook, outcome, replay, session
from labrunner.curriculum import Curriculum
from labrunner.errors import ReplayBusy
from labrunner.outcome import Outcome
from labrunner.replay import Plan
from labrunner.settings import parse
from tests.classroom_folder import commit
from tests.labrunner.conftest import FAILS, PASSES, Checkout

pytestmark = pytest.mark.labs

FAKE = """\
#!{python}
import json, pathlib, sys
state = pathlib.Path(sys.argv[3])
state.mkdir(parents=True, exist_ok=True)
with (state.parent / "calls").open("a") as file:
    file.write(sys.argv[1] + "\\n")
if sys.argv[1] == "up":
    (state / "password").write_text("correct-horse-battery")
    (state / "password").chmod(0o600)
    environment = {{
        "EZMERAL_URL": "https://front.door", "EZMERAL_PASSWORD_FILE": f"{{state}}/password"
    }}
    print(json.dumps({{"state": str(state), "already": False, "environment": environment}}))
"""
TELLS = """
# %% [markdown]
# ## 1. Tell a secret

# %%
import os
open(os.environ["EZMERAL_PASSWORD_FILE"]).read()
"""
HANGS = """
# %% [markdown]
# ## 1. Hang

# %%
import os, pathlib, threading
pathlib.Path(os.environ["PROJECT_REPO"], "began").write_text(str(os.getpid()))
if not pathlib.Path(os.environ["PROJECT_REPO"], "go").exists():
    threading.Event().wait()
"""
LEAVES = """
# %% [markdown]
# ## 1. Start a server, and hang

# %%
import os, pathlib, subprocess, sys, threading
folder = pathlib.Path(os.environ["PROJECT_REPO"])
if not (folder / "go").exists():
    words = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    server = subprocess.Popen(words, start_new_session=True)
    (folder / "began").write_text(str(server.pid))
    threading.Event().wait()
"""
FULL = """
# %% [markdown]
# ## 1. Fill the disk

# %%
raise OSError(28, "No space left on device")
"""
LONG = """
# %% [markdown]
# ## 1. Say too much

# %%
raise RuntimeError("\\n".join(f"line {number}" for number in range(300)))
"""
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from labrunner import session
from labrunner.curriculum import load
from labrunner.replay import Plan
labs = load(Path(sys.argv[1]))
out = Path(sys.argv[2])
sys.exit(session.replay(labs, Plan(labs.labs, out, resume="--resume" in sys.argv), Console()))
"""


@dataclass
class Told:
    """A finished replay."""

    status: int
    said: str
    plan: Plan
    outcomes: dict[str, Outcome]


Run = Callable[..., Told]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def go(labs: Curriculum, **settings: object) -> Told:
        plan = replace(Plan(labs.labs, tmp_path / "out"), **settings)  # type: ignore[arg-type]
        console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
        status = session.replay(labs, plan, console, plan.out / "takeaway.zip")
        console.file.close()
        found = outcome.load(plan.state / "outcomes.json")
        return Told(status, console.export_text(), plan, found)

    return go


@pytest.fixture
def fake_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program in the sandbox's place that notes how it is called."""
    program = tmp_path / "labsandbox"
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr("labrunner.sandbox.command", lambda: str(program))
    return tmp_path / "out" / ".state" / "calls"


def with_platform(labs: Curriculum) -> Curriculum:
    return replace(labs, labs=tuple(replace(lab, platform=True) for lab in labs.labs))


def test_full_disk_in_a_lab_is_told_in_sentences_and_pages_are_cut(
    checkout: Checkout, run: Run
) -> None:
    """A stack of three hundred lines is no help in a table; the executed notebook has it."""
    labs = checkout(full=(FULL, []), long=(LONG, []))
    told = run(labs)
    said = {lab: str((found.error or {})["text"]) for lab, found in told.outcomes.items()}
    assert said["toy/full"].startswith("Expected room to write, found none in")
    assert said["toy/long"].splitlines()[0] == "line 0"
    assert len(said["toy/long"].splitlines()) == 9
    assert told.said.count("line ") == 8


def test_replay_of_good_and_bad_labs_leaves_a_whole_report(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES, []), bad=(FAILS, ["a"]), c=(PASSES, ["bad"]), d=(PASSES, ["a"]))
    told = run(labs, given={"rows": 5}, jobs=2)
    assert told.status == 1
    statuses = {lab: found.status for lab, found in told.outcomes.items()}
    assert statuses == {
        "toy/a": "passed",
        "toy/bad": "failed",
        "toy/c": "skipped",
        "toy/d": "passed",
    }
    assert "1 of 2 Count the rows" in told.said
    assert told.outcomes["toy/c"].reason == "needs toy/bad"
    assert told.outcomes["toy/a"].checkpoints[0]["saw"] == "5"
    assert told.outcomes["toy/a"].checkpoints[0]["step"] == 1
    assert told.outcomes["toy/a"].peak > 10**7
    page = (told.plan.out / "report.html").read_text()
    again = "labs replay --only toy/a,toy/bad --set rows=5"
    for words in ("2 of 4 labs passed", again, "Wait for spring.", "<code>rows=5</code>"):
        assert words in page
    said = json.loads((told.plan.out / "report.json").read_text())
    assert [lab["status"] for lab in said["labs"]] == list(statuses.values())
    suite = ElementTree.parse(told.plan.out / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "2", "1")
    executed = nbformat.read(told.plan.out / "notebooks" / "toy" / "a.ipynb", as_version=4)
    assert any(cell.get("outputs") for cell in executed.cells)
    html = (told.plan.out / "notebooks" / "toy" / "a.html").read_text()
    assert "<script src=" not in html, "a page needs no network"
    names = zipfile.ZipFile(told.plan.out / "takeaway.zip").namelist()
    assert "house-on-the-lake/notebooks/toy/a.html" in names


def test_failing_cell_is_found_in_the_notebook_the_page_and_the_source(
    checkout: Checkout, run: Run
) -> None:
    labs = checkout(bad=(PASSES + FAILS, []))
    commit(labs.root)
    told = run(labs, given={"rows": 5, "city": "1"}, solutions=True)
    error = told.outcomes["toy/bad"].error
    assert error is not None
    learners = notebook.cells_in(notebook.build(labs, labs.labs[0], solutions=True))
    assert learners[error["cell"] - 1].text.startswith('check("The sky is green"')
    page = (told.plan.out / "report.html").read_text()
    assert f"Cell {error['cell']}" in page
    (link,) = re.findall(r'href="(notebooks/toy/bad\.html)#(cell-id=[\w-]+)"', page)
    assert f'id="{link[1]}"' in (told.plan.out / link[0]).read_text()
    (found,) = json.loads((told.plan.out / "report.json").read_text())["labs"]
    name, _, line = found["source_place"].rpartition(":")
    text = (labs.root / name).read_text().splitlines()[int(line) - 1]
    assert text.startswith('check("The sky is green"')
    words = shlex.split(found["command"])
    assert words[:4] == ["labs", "replay", "--only", "toy/bad"]
    given = dict(parse(one) for one in words if "=" in one)
    assert given == {"rows": 5, "city": "1"}
    assert "--solutions" in words
    assert re.search(r"commit [0-9a-f]{12}\b", page)


def test_resume_runs_only_what_has_not_passed(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES, []), b=(FAILS, ["a"]))
    assert run(labs).status == 1
    path = labs.source(labs.labs[1])
    path.write_text(path.read_text().replace("False,", "True,"))
    told = run(labs, resume=True)
    assert told.status == 0
    assert told.outcomes["toy/a"].kept
    assert not told.outcomes["toy/b"].kept
    assert "kept from an earlier run" in told.said or "✓ passed" in told.said


def test_resume_keeps_nothing_of_a_run_that_passed_whole(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES, []))
    assert run(labs).status == 0
    told = run(labs, resume=True)
    assert told.status == 0
    assert not told.outcomes["toy/a"].kept


def test_resume_runs_a_lab_again_when_its_parameters_changed(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES, []), b=(FAILS, []))
    assert run(labs).status == 1
    assert run(labs, resume=True).outcomes["toy/a"].kept
    assert not run(labs, resume=True, given={"rows": 7}).outcomes["toy/a"].kept


def test_marked_cell_that_changes_fails_the_lab(checkout: Checkout, run: Run) -> None:
    wild = PASSES.replace("sum(range(rows))", "import random; random.random()")
    labs = checkout(good=(PASSES, []), wild=(wild, []))
    told = run(labs, again=True, jobs=2)
    assert told.outcomes["toy/good"].status == "passed"
    assert "passed" in told.outcomes["toy/good"].again
    error = told.outcomes["toy/wild"].error
    assert error is not None
    assert error["name"] == "MarkedCellsDiffer"


def test_sandbox_is_started_for_labs_that_need_it_and_taken_down(
    checkout: Checkout, run: Run, fake_sandbox: Path
) -> None:
    labs = with_platform(checkout(bad=(FAILS, [])))
    assert run(labs).status == 1
    assert fake_sandbox.read_text().split() == ["up", "down"]


def test_secret_of_the_run_in_an_output_fails_the_lab_and_stays_out_of_the_take_away(
    checkout: Checkout, run: Run, fake_sandbox: Path
) -> None:
    labs = with_platform(checkout(tells=(TELLS, [])))
    told = run(labs)
    error = told.outcomes["toy/tells"].error
    assert error is not None
    assert error["name"] == "SecretInOutput"
    assert "cell 6" in error["text"]
    assert not (told.plan.out / "notebooks" / "toy" / "tells.html").exists()
    with zipfile.ZipFile(told.plan.out / "takeaway.zip") as archive:
        texts = [archive.read(name) for name in archive.namelist()]
    page = (told.plan.out / "report.html").read_bytes()
    assert not any(b"correct-horse-battery" in text for text in [*texts, page])


def test_second_replay_in_the_same_folder_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    labs = checkout(a=(PASSES, []))
    with (
        replay.only_one(tmp_path / "out"),
        pytest.raises(ReplayBusy, match="another replay runs"),
    ):
        replay.replay(labs, Plan(labs.labs, tmp_path / "out"), Console())


def start(labs: Curriculum, out: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PROJECT_REPO": str(labs.root)}
    # As a shell starts the background jobs of a script: with SIGINT ignored.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    return subprocess.Popen(
        [*ignoring, sys.executable, "-c", PROGRAM, str(labs.root), str(out), *more],
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def kernel_of(labs: Curriculum) -> psutil.Process:
    """Return the process whose number the lab wrote down when it began."""
    began = labs.root / "began"
    text = wait("the lab to begin", began.read_text, deadline=90)
    return psutil.Process(int(text))


def test_replay_killed_in_a_lab_leaves_no_kernel_and_resumes(
    checkout: Checkout, tmp_path: Path
) -> None:
    labs = checkout(a=(PASSES, []), hangs=(HANGS, ["a"]))
    out = tmp_path / "out"
    killed = start(labs, out)
    kernel = kernel_of(labs)
    killed.kill()
    killed.wait()
    wait("the kernel to end", kernel.is_running, until=lambda there: not there, deadline=60)
    (labs.root / "go").touch()
    assert start(labs, out, "--resume").wait(120) == 0
    found = outcome.load(out / ".state" / "outcomes.json")
    assert found["toy/a"].kept
    assert found["toy/hangs"].status == "passed"


def test_server_that_a_killed_replay_left_is_gone_after_the_next_start(
    checkout: Checkout, tmp_path: Path
) -> None:
    labs = checkout(leaves=(LEAVES, []))
    killed = start(labs, tmp_path / "out")
    server = kernel_of(labs)
    killed.kill()
    killed.wait()
    assert server.is_running()
    (labs.root / "go").touch()
    again = start(labs, tmp_path / "out", "--resume")
    assert again.wait(120) == 0
    assert not server.is_running()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_replay_ended_by_a_signal_takes_everything_down_and_reports(
    checkout: Checkout, tmp_path: Path, number: signal.Signals
) -> None:
    labs = checkout(hangs=(HANGS, []))
    running = start(labs, tmp_path / "out")
    kernel = kernel_of(labs)
    running.send_signal(number)
    assert running.wait(60) != 0
    wait("the kernel to end", kernel.is_running, until=lambda there: not there, deadline=30)
    assert "interrupted" in (tmp_path / "out" / "report.html").read_text()


def test_killed_kernel_is_told_with_what_to_type(checkout: Checkout, run: Run) -> None:
    body = "\n# %% [markdown]\n# ## 1. Die\n\n# %%\nimport os\nos.kill(os.getpid(), 9)\n"
    told = run(checkout(dies=(body, [])))
    error = told.outcomes["toy/dies"].error
    assert error is not None
    assert error["name"] == "DeadKernelError"
    assert error["step"] == 1


def test_longest_way_is_begun_first(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES, []), b=(PASSES, []), long=(PASSES, []), end=(PASSES, ["long"]))

    def begun(jobs: int) -> list[str]:
        return sorted(("toy/a", "toy/b", "toy/long"), key=run(labs, jobs=jobs).said.index)

    assert begun(2)[0] == "toy/long"
    assert begun(1) == ["toy/a", "toy/b", "toy/long"]


def test_exercise_runs_with_its_solution_when_asked(checkout: Checkout, run: Run) -> None:
    labs = checkout(a=(PASSES + "\n# %%\nassert doubled == 20\n", []))
    assert run(labs).status == 1
    assert run(labs, solutions=True).status == 0


def test_reset_runs_only_set_up_and_clean_up(checkout: Checkout, run: Run) -> None:
    body = FAILS + "\n# %% [markdown]\n# ## Clean up\n\n# %%\nprint('swept')\n"
    told = run(checkout(a=(body, [])), sections=("Parameters", "Setup", "Clean up"))
    assert told.status == 0
    assert "swept" in told.plan.executed(told.plan.labs[0]).read_text()


def test_two_replays_at_once_do_not_disturb_each_other(checkout: Checkout, tmp_path: Path) -> None:
    labs = checkout(a=(PASSES, []))
    runs = [start(labs, tmp_path / name) for name in ("one", "two")]
    assert [running.wait(120) for running in runs] == [0, 0]
    for name in ("one", "two"):
        assert json.loads((tmp_path / name / "report.json").read_text())["passed"]


@pytest.mark.fast
def test_place_where_nobody_may_write_is_told_with_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(ReplayBusy, match=r"Expected to write to .*found: .*--out FOLDER"),
        replay.only_one(tmp_path / "file" / "out"),
    ):
        raise AssertionError("it began")
