"""The platform on machines that are not like the one it is written on.

Each is made by namespaces of the kernel: another network, another disk, a checkout that nobody may
write to. What a machine lacks is said in a sentence, not found out by the learner.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labsandbox.node import landlock
from tests.labrunner.offline import has_namespaces
from tests.sandbox.conftest import ROOT

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]
needs_namespaces = pytest.mark.skipif(
    not has_namespaces(), reason="this machine makes no network namespaces"
)
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
ALONE = "ip link set lo up; ip addr flush dev lo; ip addr add 127.0.0.1/32 dev lo; "
WALK = "tests.sandbox.machines.walk"


def walk(
    state: Path, *more: str, before: str = "", unshare: str = "", wrapper: str = "", **env: str
) -> tuple[int, str]:
    """Walk on a machine; `before` is what a shell does to it first."""
    program = [sys.executable, "-m", WALK, str(state), *more]
    if wrapper:
        program = [sys.executable, "-m", wrapper, *program]
    if unshare:
        program = ["unshare", unshare, "sh", "-ec", f'{before} exec "$@"', "sh", *program]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | env,
        timeout=380,
    )
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def check(code: int, text: str) -> None:
    assert code == 0, text
    for line in ("session: 201", "pod: 42", "left: 0"):
        assert line in text, text


def test_home_has_a_space_and_an_umlaut(tmp_path: Path) -> None:
    home = tmp_path / "Jürgen Groß"
    home.mkdir()
    code, text = walk(home / "state", HOME=str(home), TMPDIR=str(home))
    check(code, text)


@needs_namespaces
def test_machine_with_one_loopback_address_gives_pods_ports_of_it(tmp_path: Path) -> None:
    code, text = walk(tmp_path / "state", before=ALONE, unshare="-rn")
    check(code, text)
    assert "This machine has 127.0.0.1 and no other" in text, text
    assert "ip addr add 127.0.0.0/8 dev lo" in text


@needs_namespaces
@pytest.mark.timeout(1200)
def test_learner_with_one_loopback_address_works_in_a_notebook_of_the_cluster(
    tmp_path: Path,
) -> None:
    """Labs core/01 and core/02: a sign-in, and a notebook server behind the gateway."""
    labs, report = Path(sys.executable).with_name("labs"), tmp_path / "report"
    program = [str(labs), "replay", "--only", "core/01,core/02", "--out", str(report)]
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-ec", ALONE + 'exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1100,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@needs_namespaces
def test_machine_with_the_addresses_added_works(tmp_path: Path) -> None:
    cure = "ip addr add 127.0.0.0/8 dev lo; "
    check(*walk(tmp_path / "state", before=ALONE + cure, unshare="-rn"))


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock anyway")
def test_machine_without_landlock_works_and_says_what_is_weaker(tmp_path: Path) -> None:
    code, text = walk(tmp_path / "state", wrapper="tests.sandbox.machines.old_kernel")
    check(code, text)
    assert "confined: False this kernel has no Landlock" in text
    assert "programs in pods can read and write what you can" in text.partition("session")[0], text


@needs_mounts
def test_home_on_a_full_disk_is_told_before_anything_is_made(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m tmpfs '{disk}'; "
    code, text = walk(disk / "state", before=mount, unshare="-m")
    assert code == 1
    assert "Traceback" not in text
    assert f"Expected 200 MB of free disk at {disk}/state" in text, text


@needs_mounts
def test_disk_that_fills_up_refuses_in_a_sentence_and_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=260m tmpfs '{disk}'; "
    code, text = walk(disk / "state", "--fill", before=mount, unshare="-m")
    check(code, text)
    assert re.search(r"refused: 507 \S.*disk", text), text
    assert "stored: again" in text


@needs_mounts
def test_checkout_that_nobody_may_write_to_works(tmp_path: Path) -> None:
    fixed = f"mount --bind '{ROOT}' '{ROOT}'; mount -o remount,ro,bind '{ROOT}'; "
    fixed += f"! touch '{ROOT}/x' 2>/dev/null; cd '{ROOT}'; "
    check(*walk(tmp_path / "state", before=fixed, unshare="-m"))
