"""Labs run in a learner's confined server: the platform's clients, Java and Spark included."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labclass import isolation
from labrunner import sandbox
from labspark.place import cache
from tests.classroom_folder import make, private
from tests.hub.person import Person
from tests.hub.running import Hub

pytestmark = [
    pytest.mark.labs,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not isolation.version(), reason="this kernel has no Landlock"),
]
LEARNER = "student1"
# What `labs class` gives a learner of what the platform says, by name.
GIVEN = (
    *("EZMERAL_URL", "EZMERAL_CA", "EZMERAL_TENANT", "EZMERAL_USER", "GATEWAY_CA"),
    *("PROJECT_REPO", "PYTHONPATH", "CURL_HOME", "JDK_JAVA_OPTIONS"),
)


class Lesson:
    """A class with a platform, and one learner in their server."""

    def __init__(self, person: Person, password: str, home: Path, platform: dict[str, str]) -> None:
        self.person, self.password, self.home, self.platform = person, password, home, platform

    def run(self, lab: str, steps: int = 99, **given: object) -> dict[str, bool]:
        """Run the cells of a lab's first steps as JupyterLab does; return its checkpoints."""
        kernel = self.person.kernel(f"notebooks/{lab}.ipynb")
        try:
            for cell in self._cells(lab, steps):
                said = kernel.run("".join(cell["source"]), 300, answer=self.password)
                assert not kernel.failed, f"{lab}: {cell['source']}\n{said}"
                if "parameters" in cell["metadata"].get("tags", []):
                    kernel.run("\n".join(f"{name} = {value!r}" for name, value in given.items()))
        finally:
            kernel.close()
            self.person.end(kernel)
        kept = json.loads((self.home / ".local/share/house-on-the-lake/progress.json").read_text())
        return {name: entry["passed"] for name, entry in kept[lab.partition("_")[0]].items()}

    def _cells(self, lab: str, steps: int) -> Iterator[dict[str, Any]]:
        found = self.person.get(f"api/contents/notebooks/{lab}.ipynb").json()["content"]["cells"]
        for cell in found:
            if "".join(cell["source"]).startswith(f"## {steps + 1}. "):
                return
            if cell["cell_type"] == "code":
                yield cell


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lesson]:
    """Return a lesson at a platform that lies inside the class folder, as it does in a class."""
    folder = make(tmp_path_factory.mktemp("lesson") / "class", students=1)
    shutil.rmtree(folder / "platform")  # a made-up one
    with sandbox.running(folder / "platform") as platform:
        home = folder / "homes" / LEARNER
        settings = {name: platform[name] for name in GIVEN if name in platform}
        settings |= {"EZMERAL_USER": LEARNER, "KUBECONFIG": str(home / ".kube" / "config")}
        # The platform's path begins with its names; the rest of it is this test's own.
        settings["PYTHONPATH"] = platform["CURL_HOME"]
        lines = "".join(f"{name}={value!r}\n" for name, value in settings.items())
        private(folder / "learners" / f"{LEARNER}.env", lines)
        hub = Hub(folder)
        try:
            person = hub.start().person(LEARNER)
            person.sign_in()
            person.start_server()
            password = (folder / "platform/ezmeral/passwords" / LEARNER).read_text()
            yield Lesson(person, password, home, platform)
        finally:
            hub.close()


def test_first_lab_signs_in_from_a_confined_server(lesson: Lesson) -> None:
    checkpoints = lesson.run("core/01_authenticate")
    assert len(checkpoints) >= 5
    assert all(checkpoints.values())
    kubeconfig = lesson.home / ".kube" / "config"
    assert kubeconfig.stat().st_mode & 0o77 == 0


def test_second_lab_deploys_from_a_confined_server(lesson: Lesson) -> None:
    assert all(lesson.run("core/02_deploy_notebook").values())


def test_spark_of_the_third_lab_runs_in_a_confined_server(lesson: Lesson) -> None:
    before = {file.name for file in cache().rglob("*")}
    checkpoints = lesson.run("core/03_lakehouse", steps=2, rows=4000)
    assert len(checkpoints) >= 2
    assert all(checkpoints.values())
    assert {file.name for file in cache().rglob("*")} == before, (
        "the cache is shared, and read only"
    )


@pytest.mark.nightly
def test_whole_third_lab_passes_in_a_confined_server(lesson: Lesson) -> None:
    assert all(lesson.run("core/03_lakehouse", rows=4000).values())
    table = Path(lesson.platform["PROJECT_REPO"]) / "lakehouse" / LEARNER / "trips.json"
    assert json.loads(table.read_text())["rows"] > 0


@pytest.mark.nightly
@pytest.mark.parametrize("lab", ["00_generate", "01_map", "02_locate"])
def test_first_labs_of_logistics_pass_in_a_confined_server(lesson: Lesson, lab: str) -> None:
    if lab == "00_generate":  # it needs the kubeconfig, and may run without the tests above
        lesson.run("core/01_authenticate")
    checkpoints = lesson.run(f"logistics/{lab}")
    assert len(checkpoints) == 5
    assert all(checkpoints.values())


def test_machine_is_found_fit_from_inside(lesson: Lesson) -> None:
    kernel = lesson.person.kernel()
    code = "import subprocess; done = subprocess.run(['labs', 'doctor'], capture_output=True);"
    said = kernel.run(f"{code} print(done.returncode, done.stdout.decode()[-3000:])")
    kernel.close()
    assert said.startswith("0"), said
    assert sys.prefix in said
