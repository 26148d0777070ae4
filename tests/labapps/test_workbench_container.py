"""The image of a build in the hands of other tools: skopeo reads it, podman pulls and runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from deploy.images.build import CONF, RUNNING, limits, own_storage, remove
from tests.labapps import oci
from tests.labapps.oci import Registry
from tests.labapps.pods import ROOT, address, eventually
from tests.labapps.test_workbench_image import MODELS, RUNTIME, Place

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.nightly,
    pytest.mark.timeout(400),
    oci.needed("docker-registry", "skopeo", "buildah", "podman", "runc"),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers of this test need root"),
]
PREDICT = """
from pathlib import Path
WORDS = (Path(__file__).parent / "words.txt").read_text()

def predict(request):
    return WORDS.strip() + " " + request["name"]
"""
LISTED = """
import sys
import labapps.workbench.replica
names = {name.partition(".")[0] for name in sys.modules}
print(*sorted(names))
"""
NOT_NEEDED = {"site-packages", "test", "__pycache__", "idlelib", "tkinter", "ensurepip", "config"}


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
    return done.stdout.strip()


def libraries(binaries: list[Path]) -> set[str]:
    """Return the shared libraries that these files need, as the loader finds them."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True)
    return set(re.findall(r"(/[^ \n]+\.so[^ \n]*) \(0x", done.stdout))


def interpreter(target: Path) -> dict[str, str]:
    """Write an archive with this Python and what a replica imports; return its variables."""
    site, home = Path(sysconfig.get_path("purelib")), Path(sys.base_prefix)
    loaded = subprocess.run(
        [sys.executable, "-c", LISTED], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    stdlib = Path(sysconfig.get_path("stdlib"))
    program = home / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = [p for name in loaded for p in (site / name, *site.glob(f"{name}.*"),
                *site.glob(f"{name}.libs")) if p.exists()]  # fmt: skip
    binaries = [program, *stdlib.rglob("*.so"), *(s for p in packages for s in p.rglob("*.so*"))]
    with tarfile.open(target, "w", dereference=True) as tar:

        def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            return None if NOT_NEEDED & set(Path(entry.name).parts[-1:]) else entry

        tar.add(program, program)
        tar.add(program, program.with_name("python"))
        tar.add(stdlib, stdlib, filter=kept)
        for package in dict.fromkeys(packages):
            tar.add(package, f"opt/packages/{package.name}", filter=kept)
        tar.add(ROOT / "labapps", "opt/labs/labapps", filter=kept)
        for library in sorted(libraries(binaries)):
            tar.add(library, library)
        tar.add(shutil.which("busybox") or "/bin/cat", "bin/cat")
    return {
        "PATH": f"{program.parent}:/bin",
        "PYTHONPATH": "/opt/labs:/opt/packages",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Images of this test's own."""
    folder = tmp_path / "containers"
    folder.mkdir()
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(folder / CONF))
    own_storage(folder)
    yield folder
    remove(folder)


def test_pulled_image_holds_the_build_and_answers_calls(tmp_path: Path, storage: Path) -> None:
    env = interpreter(tmp_path / "base.tar")
    place = Place(tmp_path / "place", {"predict.py": PREDICT, "words.txt": "Good morning,\n"})
    with Registry(tmp_path / "registry") as registry:
        container = run("buildah", "from", "scratch")
        run("buildah", "add", "--quiet", container, tmp_path / "base.tar", "/")
        settings = [f"--env={name}={value}" for name, value in env.items()]
        run("buildah", "config", *settings, "--workingdir=/opt/labs", container)
        base = f"{registry.host}/{RUNTIME}:1.0"
        run("buildah", "commit", "--quiet", "--rm", container, base)
        run("buildah", "push", "--quiet", "--tls-verify=false", base)
        place.push(f"{registry.host}/{MODELS}", base)
        name = place.pushed()

        seen = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
        assert seen["Labels"]["org.opencontainers.image.base.name"] == base
        assert len(seen["Layers"]) == 2
        # With all blobs: skopeo looks whether each has its digest.
        copied = tmp_path / "copied"
        run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{copied}:x")
        run("podman", "pull", "--quiet", "--tls-verify=false", name)

    # From here on there is no registry and no project repository.
    shutil.rmtree(place.repository)
    running = [*RUNNING, *limits()]
    inside = f"/opt/model/builds/{place.digest}"
    assert run(*running, name, "cat", f"{inside}/words.txt") == "Good morning,"
    host = address()
    words = [word for word in running if not word.startswith("--network")]
    words += ["--network=host", f"--env=POD_LISTEN_IP={host}", "--user=1000", name]
    program = ["python", "-u", "-m", "labapps.workbench.replica", place.digest]
    with (tmp_path / "replica.log").open("wb") as log:
        replica = subprocess.Popen([*words, *program, "predict.py:predict"], stdout=log, stderr=log)
        try:
            url = f"http://{host}:8100"

            def is_ready() -> bool:
                assert replica.poll() is None, (tmp_path / "replica.log").read_text()
                return requests.get(f"{url}/ready", timeout=5).ok

            eventually("the replica to be ready", is_ready, 60)
            answer = requests.post(f"{url}/call", json={"name": "Ann"}, timeout=30)
            assert answer.json()["prediction"] == "Good morning, Ann"
        finally:
            replica.terminate()
            replica.wait(60)
