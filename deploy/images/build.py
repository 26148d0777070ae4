"""Build all images, say how large they are, and try them: `make images`.

Needs root, 15 GB, Debian's buildah, podman and mmdebstrap, and the package index; it fetches no
image. The base is made from Debian's packages: a Python in /usr/local, as in the image that `BASE`
of labapps/Containerfile names. Images and layers stand in a folder of their own, which is removed
at the end; with `--keep` they stand where this machine keeps its images, and stay. `--storage`
names that folder, for a build that goes on where one that was killed has left its layers.
Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/labs/base:1.0"
LABREGRESS, MERGED = ROOT / ".venv" / "bin" / "labregress", "labs/merged:1.0"
NEEDED = ("buildah", "podman", "mmdebstrap")
TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
BYTES = 15 * 10**9
MOST, MOST_LEAN = 2.5e9, 1.2e9  # bytes an image may take, and one that needs no Spark
# `usr-is-merged` in place of `usrmerge`, which brings perl to merge what a new tree has merged.
DEBIAN = ("python3", "python3-venv", "ca-certificates", "tar", "usr-is-merged")
MERGED_USR = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
RUNNING = ("podman", "--runtime=runc", "run", "--rm", "--network=none", "--cgroups=no-conmon")
# Manuals and translations are in no image, not even in those that install more of Debian.
PLAIN = [
    f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")
]
# apt's own caches would take 86 MB of each layer that installs something.
PLAIN += [f'--aptopt=Dir::Cache::{name} ""' for name in ("pkgcache", "srcpkgcache")]
CONF = "labs-images.conf"
STORAGE = """[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""


class Unusable(Exception):
    """This machine cannot build images; the message says what to type."""


def run(*words: str | Path) -> str:
    """Run a command; return what it printed."""
    print("+", shlex.join(map(str, words)), flush=True)
    done = subprocess.run(
        list(map(str, words)), check=True, text=True, stdout=subprocess.PIPE, cwd=ROOT
    )
    return done.stdout.strip()


def look(folder: Path) -> None:
    """Refuse a machine that cannot build."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.getuid() != 0:
        raise Unusable("Expected root, found an ordinary user; type `sudo make images`.")
    if missing:
        packages = " ".join(missing)
        raise Unusable(f"Expected {packages} on this machine; type `apt-get install {packages}`.")
    free = shutil.disk_usage(folder).free
    if free < BYTES:
        raise Unusable(f"Expected 15 GB free in {folder}, found {free / 1e9:.1f} GB.")


def limits() -> list[str]:
    """Return podman's words for limits that this machine allows: its own may be above them."""
    files, processes = (
        min(resource.getrlimit(kind)[1], 32_768)
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    )
    return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}"]


def make_base(folder: Path) -> None:
    """Make the base image from the packages of the Debian that this machine has."""
    if (
        subprocess.run(["buildah", "inspect", BASE], capture_output=True, check=False).returncode
        == 0
    ):
        return  # kept by `--keep`
    tree = folder / "base.tar"
    sources = [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]
    found = [str(file) for file in sources if file.is_file() and file.stat().st_size]
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    run("mmdebstrap", "--variant=minbase", f"--include={','.join(DEBIAN)}", MERGED_USR,
        *PLAIN, suite, tree, *found)  # fmt: skip
    container = run("buildah", "from", "scratch")
    run("buildah", "add", "--quiet", container, tree, "/")
    run("buildah", "run", "--isolation=chroot", container, "--",
        "python3", "-m", "venv", "--copies", "/usr/local")  # fmt: skip
    run("buildah", "run", "--isolation=chroot", container, "--",
        "ln", "-sf", "python3", "/usr/local/bin/python")  # fmt: skip
    run("buildah", "commit", "--quiet", "--rm", container, BASE)
    tree.unlink()


def merge(folder: Path) -> str:
    """Merge the use cases of lab mlflow-07; return the command that builds their image."""
    if not LABREGRESS.exists():
        raise Unusable(f"Expected {LABREGRESS}, found none; type `make setup`.")
    cases, out = sorted((ROOT / "labregress" / "cases").iterdir()), folder / "merged"
    run(LABREGRESS, "merge", *cases, "--mlflow", "3.17.2", "--out", out)
    return f"docker build -f {out}/Containerfile -t {MERGED} {out}"


def build(folder: Path) -> list[str]:
    """Build every image by the commands that the catalogue gives; return their names.

    pip inside trusts whom this machine trusts: many sites have an authority of their own.
    """
    conf = folder / "pip.conf"
    conf.write_text(f"[global]\ncert = /{TRUSTED.name}\n")
    mounts = [f"--volume={conf}:/etc/pip.conf:ro", f"--volume={TRUSTED}:/{TRUSTED.name}:ro"]
    lines = run(sys.executable, "labapps/image.py", "commands").splitlines()
    lines.append(merge(folder))
    names = []
    for line in lines:
        words = shlex.split(line)[2:]
        names.append(words[words.index("-t") + 1])
        began = time.monotonic()
        run("buildah", "build", "--isolation=chroot", "--layers", "--pull=never",
            *mounts, "--build-arg", f"BASE={BASE}", *words)  # fmt: skip
        print(f"{names[-1]}: {time.monotonic() - began:.0f} s", flush=True)
    return names


def sizes(names: list[str]) -> dict[str, int]:
    """Return how many bytes each image takes."""
    return {
        name: int(json.loads(run("podman", "image", "inspect", name))[0]["Size"]) for name in names
    }


def try_out(names: list[str]) -> None:
    """Start each image's program as root and as uid 1000, and work in the learner's."""
    running = [*RUNNING, *limits()]

    def start(name: str, user: str) -> None:
        run(*running, f"--user={user}", "--entrypoint=sh", name, "-ec", WRITES)
        said = run(*running, f"--user={user}", "--entrypoint=sh", name, "-ec", STARTS)
        if not said.endswith(RUNS):
            raise Unusable(f"Expected {name} to run on as {user}, waiting; found {said!r}.")

    members = [name for name in names if "learner" not in name and name != MERGED]
    with ThreadPoolExecutor(4) as pool:  # they do little but wait
        done = [pool.submit(start, name, user) for name in members for user in USERS]
    for one in done:
        one.result()
    print(run(*running, MERGED))
    (learner,) = (name for name in names if "learner" in name)
    print(run(*running, learner, "labs", "doctor"))
    print(run(*running, learner, "sh", "-ec", LAB))


def suite() -> None:
    """Run the tests of the applications with the members in their images, as both users."""
    python = ROOT / ".venv" / "bin" / "python"
    files = [f"tests/labapps/test_{name}.py" for name in SUITE]
    for user in USERS:
        uid = user.partition(":")[0]
        print(run(python, "-m", "pytest", "-p", "tests.labapps.containers", "--containers", uid,
                  "-q", *files))  # fmt: skip


SUITE = ("deployment", "training", "notebook", "spark")
USERS = ("0:0", "1000:100")
WRITES = "touch /run/labapps/x /etc/guestconfig/x /var/lib/spark/x /source_control/x"
RUNS = "status 124"  # it was alive when its time was up
STARTS = "timeout 20 /opt/labs/start 2>&1 || echo status $?"
LAB = "touch /opt/labs/notebooks/mine.ipynb && labs replay --only core/01 --out ~/replay"


def own_storage(folder: Path) -> None:
    """Let buildah and podman keep their images in a folder of ours."""
    conf = folder / CONF
    if any(folder.iterdir()) and not conf.is_file():
        raise Unusable(f"Expected a folder of an earlier build, or an empty one; found {folder}.")
    conf.write_text(STORAGE.format(folder=folder))
    os.environ["CONTAINERS_STORAGE_CONF"] = str(conf)


def remove(folder: Path) -> None:
    """Remove our own storage, after what still stands in it."""
    for words in (["podman", "rm", "--all", "--force"], ["buildah", "rm", "--all"]):
        subprocess.run(words, check=False, stdout=subprocess.DEVNULL)
    subprocess.run(["buildah", "rmi", "--all", "--force"], check=False, stdout=subprocess.DEVNULL)
    overlay = folder / "images" / "overlay"
    if os.path.ismount(overlay):
        subprocess.run(["umount", str(overlay)], check=False)


def work(folder: Path, *, tests: bool) -> None:
    """Build, print the sizes, try; refuse what is too large."""
    make_base(folder)
    found = sizes(build(folder))
    for name, size in found.items():
        print(f"{name}: {size / 1e9:.2f} GB", flush=True)
    try_out(list(found))
    if tests:
        suite()
    large = [name for name, size in found.items() if size > MOST]
    lean = [name for name in found if "deployment-engine:" in name]  # without an environment more
    large += [name for name in lean if found[name] > MOST_LEAN]
    if large:
        raise Unusable(f"Larger than they may be: {', '.join(large)}.")


def main() -> int:
    """Build and try all images, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the images")
    parser.add_argument("--suite", action="store_true", help="run tests/labapps in the images, too")
    parser.add_argument("--storage", type=Path, help="where images stand until the end")
    options = parser.parse_args()
    if options.storage and options.keep:
        parser.error("--storage is removed at the end, --keep keeps: choose one")
    if options.storage:
        options.storage.mkdir(parents=True, exist_ok=True)
    keeps = False
    folder = options.storage or Path(tempfile.mkdtemp(prefix="labs-images-"))
    try:
        look(folder)
        if not options.keep:
            own_storage(folder)
        work(folder, tests=options.suite)
    except (Unusable, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        keeps = options.storage is not None and (folder / CONF).is_file()
        if keeps:
            print(f"What was built so far stands in {folder}; the same command goes on there.")
        return 1
    finally:
        if keeps:
            pass
        elif (folder / CONF).is_file():
            used = sum(file.lstat().st_blocks for file in folder.rglob("*")) * 512
            print(f"The images took {used / 1e9:.1f} GB of disk; they are removed.", flush=True)
            remove(folder)
            shutil.rmtree(folder)
        elif not options.storage:
            shutil.rmtree(folder)
    print("All images were built and tried.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
