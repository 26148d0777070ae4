"""A build with a script of its own: what the script leaves is the build.

`python -m labapps.workbench.script <digest> <script> <file:function>` copies the frozen project,
runs the script there, keeps what it left under a digest of its own, prints that, and then imports
the function once. A script that ends in .py is Python's, any other one bash's. Links that the
script made are left out, as they are of any build.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from labapps.workbench import copies, environment
from labapps.workbench.files import DIRECTORY
from labapps.workbench.layout import BUILDS, Layout

__all__ = ["make"]


def run(layout: Layout, folder: Path, script: str) -> None:
    """Run the script in a folder, with the packages of the folder's lock."""
    if not (folder / script).is_file():
        raise SystemExit(f"Expected the build script {script} in the project; there is none.")
    packages = environment.prepare(layout, folder)
    env = dict(os.environ)
    if packages is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(packages), env.get("PYTHONPATH")]))
    words = [sys.executable, "-u", script] if script.endswith(".py") else ["bash", script]
    code = subprocess.run(words, cwd=folder, env=env, stdin=subprocess.DEVNULL).returncode
    if code:
        raise SystemExit(f"The build script {script} ended with {code}; mend it and build again.")


def make(layout: Layout, source: str, script: str) -> str:
    """Run a build's script on a copy of a frozen project; return the digest of what it left."""
    home, work, draft = layout.folder(BUILDS), *(f".{secrets.token_hex(8)}" for _ in range(2))
    with layout.made(BUILDS) as builds:
        try:
            _copy(builds, source, work)
            run(layout, layout.repository / "workbench" / BUILDS / work, script)
            digest = _copy(builds, work, draft)
            try:
                os.rename(draft, digest, src_dir_fd=builds, dst_dir_fd=builds)
            except OSError:
                if not layout.build(digest).is_dir():
                    raise
        finally:
            home.discard(work)
            home.discard(draft)
    return digest


def _copy(builds: int, source: str, target: str) -> str:
    os.mkdir(target, dir_fd=builds)
    folders = [os.open(name, DIRECTORY, dir_fd=builds) for name in (source, target)]
    try:
        return copies.copy(*folders)
    finally:
        for folder in folders:
            os.close(folder)


def main() -> None:
    layout, (source, script, target) = Layout.from_env(), sys.argv[1:]
    try:
        digest = make(layout, source, script)
    except environment.EnvironmentFailed as problem:
        sys.exit(str(problem))
    layout.folder("runs", os.environ["WORKBENCH_UNIT"]).write(["digest"], digest.encode())
    print(f"{script} made the build {digest}.", flush=True)
    os.chdir(layout.build(digest))
    words = [sys.executable, "-u", "-m", "labapps.workbench.function", target]
    if Path(environment.LOCK).is_file():
        words[2:2] = ["-m", "labapps.workbench.environment", os.getcwd(), *words[:2]]
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
