"""A learner's programs may hold so much and no more, and the others do not notice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labclass import processes, share
from tests.hub.running import until
from tests.processes import kill

pytestmark = pytest.mark.sandbox

MEMORY = 400 * 10**6
ROOT = Path(__file__).resolve().parents[2]
# The hub's host lets nobody make control groups: as in most containers.
WITHOUT = "import sys; from labclass import share, warden; share.hierarchies = lambda: {}; "
HOLD = 'import sys, time; kept = b"x" * int(sys.argv[1]); print("held", flush=True); time.sleep(60)'


@pytest.fixture
def notice(tmp_path: Path) -> Path:
    file = tmp_path / "notice.txt"
    file.write_text("")
    return file


def start(script: str, notice: Path, *, groups: bool = True) -> subprocess.Popen[str]:
    """Start a shell script under a warden that bounds its memory; `$hold BYTES` takes some."""
    words = ["-m", "labclass.warden"] if groups else ["-c", WITHOUT + "sys.exit(warden.main())"]
    given = [f"--memory={MEMORY}", f"--notice={notice}", "--", "/bin/sh", "-c", script]
    return subprocess.Popen(
        [sys.executable, *words, *given],
        cwd=ROOT,
        env={**os.environ, "hold": f"{sys.executable} -c '{HOLD}'"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def groups() -> Iterator[dict[str, Path]]:
    """Return the groups that this machine lets us make, while they are there."""
    taken = share.take(f"test-{os.getpid()}", MEMORY)
    yield taken.folders
    taken.release()


@pytest.mark.parametrize("is_grouped", [True, False], ids=["control groups", "without"])
def test_largest_program_ends_when_all_hold_too_much(notice: Path, is_grouped: bool) -> None:
    script = 'eval "$hold 100000000" & eval "$hold 330000000"; echo "status $?"; kill -9 $!'
    said, complaints = start(script, notice, groups=is_grouped).communicate(timeout=60)
    assert said.splitlines() == ["held", "held", "status 137"], complaints
    text = notice.read_text()
    assert "Expected at most 0.40 GB of memory, found 0.4" in text
    assert "ended the largest program, pyth" in text
    assert text.split(" ", 1)[1] in complaints, "the instructor's log says the same"


def test_program_that_asks_for_too_much_gets_an_error(notice: Path) -> None:
    said, complaints = start('eval "$hold 500000000"', notice, groups=False).communicate(timeout=60)
    assert not said
    assert "MemoryError" in complaints
    assert not notice.read_text()


def test_group_that_takes_no_process_is_replaced_by_a_limit(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from labclass import share\n"
        f"share.Share({MEMORY}, {{'memory': Path(sys.argv[1])}}).join()\n"
        "try:\n    kept = b'x' * 500_000_000\nexcept MemoryError:\n    print('refused')\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "gone")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_server_without_a_bound_does_what_it_did(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labclass.warden", "--", "/bin/cat", "/proc/self/oom_score_adj"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == Path("/proc/self/oom_score_adj").read_text()


def test_learner_is_the_first_to_end_and_has_groups(notice: Path, groups: dict[str, Path]) -> None:
    before = {folder.parent: set(folder.parent.iterdir()) for folder in groups.values()}
    warden = start("cat /proc/self/oom_score_adj /proc/self/cgroup", notice)
    said, _ = warden.communicate(timeout=30)
    assert said.splitlines()[0] == str(share._FIRST_TO_END)
    assert said.count(f"/{share.CLASS}/learner-{warden.pid}") >= len(set(groups.values()))
    assert {folder: set(folder.iterdir()) for folder in before} == before, "groups were left"


def test_memory_that_is_shared_counts_once(notice: Path, tmp_path: Path) -> None:
    program = tmp_path / "forks.py"
    program.write_text(
        "import os, time\nkept = b'x' * 200_000_000\n"
        "for _ in range(3):\n    os.fork() or (time.sleep(8), os._exit(0))\n"
        "print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)])\n"
    )
    said, complaints = start(f"{sys.executable} {program}", notice, groups=False).communicate(
        timeout=60
    )
    assert said == "[0, 0, 0]\n", complaints


@pytest.mark.parametrize("kernel", ["lists children", "lists none"])
def test_processes_below_are_found_with_their_children(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "lists none":
        monkeypatch.setattr(processes, "_is_listed", lambda: False)
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & sh -c 'sleep 60 & wait' & wait"])
    try:
        until(lambda: len(processes.descendants(shell.pid)) == 3, "three processes")
    finally:
        kill(*processes.descendants(shell.pid), shell.pid)
        shell.wait()


# Where groups may be made


MOUNT = "{number} 1 0:{number} {top} {place} rw - {kind} {kind} {options}\n"


def host(folder: Path, cgroup: str, *mounts: dict[str, object]) -> Path:
    """Make what /proc/self of some host says."""
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(
        "".join(MOUNT.format(**{"kind": "cgroup"} | one) for one in mounts)
    )
    return folder


def test_one_hierarchy_for_all_is_used_beside_our_own_group(tmp_path: Path) -> None:
    tree = tmp_path / "fs"
    tree.mkdir()
    (tree / "cgroup.controllers").write_text("cpu io memory pids\n")
    mount = {"number": 9, "top": "/", "place": tree, "kind": "cgroup2", "options": "rw"}
    own = host(tmp_path / "proc", "0::/user.slice/hub.service\n", mount)
    assert share.hierarchies(own) == dict.fromkeys(share._LIMITS, (tree / "user.slice", 2))


def test_separate_hierarchies_are_used_below_our_own_group(tmp_path: Path) -> None:
    mounts = [
        {"number": 5, "top": "/", "place": tmp_path / "memory", "options": "rw,memory"},
        {"number": 6, "top": "/box", "place": tmp_path / "cpu", "options": "rw,cpu,cpuacct"},
    ]
    own = host(tmp_path / "proc", "4:memory:/a\n2:cpu,cpuacct:/box/b\n0::/\n", *mounts)
    assert share.hierarchies(own) == {
        "memory": (tmp_path / "memory" / "a", 1),
        "cpu": (tmp_path / "cpu" / "b", 1),
    }


def test_host_without_control_groups_has_none(tmp_path: Path) -> None:
    assert share.hierarchies(tmp_path) == {}


# What the instructor is told


def test_words_name_what_is_bounded_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = share.Share(MEMORY, dict.fromkeys(share._LIMITS, tmp_path))
    assert everything.words().startswith("Control groups give each learner 0.4 GB of memory, 4,096")
    monkeypatch.setattr(share, "has_autogroups", lambda: False)
    nothing = share.Share(MEMORY).words()
    assert "We may make no control group for memory here" in nothing
    assert "learners only give way to the hub" in nothing
    assert "nothing bounds how many processes" in nothing
    monkeypatch.setattr(share, "has_autogroups", lambda: True)
    assert "(autogroups)" in share.Share(MEMORY).words()


def test_explaining_leaves_no_group_behind(groups: dict[str, Path]) -> None:
    before = {folder: set(folder.parent.iterdir()) for folder in groups.values()}
    assert "0.4 GB" in share.explain(MEMORY)
    assert {folder: set(folder.parent.iterdir()) for folder in groups.values()} == before
