"""The git server as git meets it: clone, push, a wrong token, names that are none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.labapps.pods import TOKEN, Cluster, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("git"), "gitserver", {"server": 1})
    with running(cluster):
        assert cluster.settle() == []
        yield cluster


def address(cluster: Cluster, token: str = TOKEN) -> str:
    credentials = f"ann:{token}@" if token else ""
    return f"http://{credentials}{cluster.pods['server'][0].ip}:3000"


def git(*words: str, cwd: Path, ok: bool = True) -> str:
    identity = {
        f"GIT_{who}_{what}": "t@x.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    quiet = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    done = subprocess.run(
        ["git", *words], cwd=cwd, env=os.environ | identity | quiet, capture_output=True, text=True
    )
    assert (done.returncode == 0) is ok, done.stderr
    return done.stdout + done.stderr


def work(folder: Path, text: str, size: int = 0) -> None:
    git("init", "--quiet", "--initial-branch=main", ".", cwd=folder)
    (folder / "lab.txt").write_text(text)
    (folder / "large.bin").write_bytes(os.urandom(size))
    git("add", ".", cwd=folder)
    git("commit", "--quiet", "--message", "One", cwd=folder)


def test_what_is_pushed_is_cloned(server: Cluster, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    work(tmp_path / "mine", "hello", size=3 << 20)  # more than git sends in one piece
    git("push", "--quiet", f"{address(server)}/labs.git", "main", cwd=tmp_path / "mine")
    git("clone", "--quiet", f"{address(server)}/labs.git", "theirs", cwd=tmp_path)
    assert (tmp_path / "theirs/lab.txt").read_text() == "hello"
    (tmp_path / "theirs/lab.txt").write_text("changed")
    git("commit", "--quiet", "--all", "--message", "Two", cwd=tmp_path / "theirs")
    git("push", "--quiet", cwd=tmp_path / "theirs")
    git("pull", "--quiet", f"{address(server)}/labs.git", "main", cwd=tmp_path / "mine")
    assert (tmp_path / "mine/lab.txt").read_text() == "changed"
    kept = next((server.repository / "git").iterdir())
    assert (kept / "labs.git/HEAD").is_file(), "the repository outlives the pod"


@pytest.mark.parametrize("token", ["", "f" * 32])
def test_nobody_reads_or_writes_without_the_token(
    server: Cluster, tmp_path: Path, token: str
) -> None:
    said = git("clone", f"{address(server, token)}/labs.git", "x", cwd=tmp_path, ok=False)
    assert "Authentication failed" in said or "could not read Username" in said
    work(tmp_path, "no")
    git("push", f"{address(server, token)}/labs.git", "main", cwd=tmp_path, ok=False)
    answer = requests.get(f"{address(server, '')}/labs.git/info/refs", timeout=30)
    assert answer.status_code == 401
    assert "kd-auth-token" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/none.git/info/refs?service=git-upload-pack", 404),
        ("/labs.git/info/refs?service=git-shell", 404),
        ("/labs.git/config", 404),
        ("/..%2f..%2fetc.git/info/refs?service=git-receive-pack", 403),
        ("/.git/info/refs?service=git-receive-pack", 403),
        ("/Labs%20of%20mine.git/info/refs?service=git-receive-pack", 403),
    ],
)
def test_only_git_and_plain_names_are_answered(server: Cluster, path: str, status: int) -> None:
    answer = requests.get(
        f"{address(server, '')}{path}", headers={"X-Auth-Token": TOKEN}, timeout=30
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
