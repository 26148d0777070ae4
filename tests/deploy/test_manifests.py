"""deploy/kubernetes keeps to the schemas of three releases, and its parts to each other."""

from __future__ import annotations

import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from labclass.checkup import kubeconfig, room, sizes
from labrunner import curriculum
from labsandbox.ezmeral import tenants
from labsandbox.ezmeral.tokenreview import group_of
from tests.deploy.kustomize import FOLDERS, KUBERNETES, build, named, text
from tests.deploy.schemas import VERSIONS, complaints, documents
from tests.repo.tree import ROOT

pytestmark = pytest.mark.fast

Json = dict[str, Any]
BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
# The policy that mounts the project repository is of a kind that older releases do not have.
SINCE = {"repository": "1.36"}


@pytest.mark.parametrize(
    ("folder", "version"),
    [pair for pair in product(FOLDERS, VERSIONS) if pair[1] >= SINCE.get(pair[0], "1.0")],
)
def test_manifests_keep_to_the_schemas(folder: str, version: str) -> None:
    found = {
        f"{obj['kind']} {obj['metadata']['name']}": complaints(obj, version)
        for obj in build(folder)
    }
    assert found
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_executors_template_keeps_to_the_schemas(version: str) -> None:
    (pod,) = documents((KUBERNETES / "hub" / "executor.yaml").read_text())
    assert complaints(pod, version) == []


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_manifest_is_found(path: Path) -> None:
    body = path.read_text()
    (expected,) = re.findall(r"# expected: (.+)", body)
    (obj,) = documents(body)
    for version in VERSIONS:
        assert expected in "\n".join(complaints(obj, version)), version


def test_doctor_knows_the_versions_that_are_tried() -> None:
    tried = [tuple(map(int, version.split("."))) for version in VERSIONS]
    assert (tried[0], tried[-1]) == (kubeconfig.OLDEST, kubeconfig.NEWEST)


def spread(rules: list[Json]) -> set[tuple[str, str, str]]:
    """Return what rules grant, one (group, resource, verb) at a time."""
    parts = ("apiGroups", "resources", "verbs")
    return {one for rule in rules for one in product(*(rule[part] for part in parts))}


def test_pods_may_do_what_they_may_on_the_laptop() -> None:
    role = named(build("."), "Role", tenants._POD_ACCOUNT)
    assert spread(role["rules"]) == spread(tenants._POD_RULES)


@pytest.mark.parametrize("account", tenants._ACCOUNTS)
def test_application_is_bound_to_a_role_that_gives_learners_nothing_new(account: str) -> None:
    objects, name = build("."), tenants._ACCOUNTS[account]
    role = named(objects, "ClusterRole", name)
    member = spread(named(objects, "ClusterRole", tenants._MEMBER_ROLE)["rules"])
    wanted = spread(role["rules"])
    assert {one for one in wanted if not {one, (one[0], "*", one[2])} & member} == set()
    verbs = {verb for _, resource, verb in wanted if resource == "secrets"}
    assert verbs <= {"create", "delete"}
    binding = named(objects, "RoleBinding", account)
    assert binding["roleRef"]["name"] == name
    assert [one["name"] for one in binding["subjects"]] == [account]
    named(objects, "ServiceAccount", account)


def test_example_of_a_workbench_names_its_account() -> None:
    example = yaml.safe_load((ROOT / "catalog/workbench/example.yaml").read_text())
    accounts = [one["serviceAccountName"] for one in example["spec"]["roles"]]
    assert accounts == ["workbench"]


def test_values_of_airflows_chart_are_of_the_release_that_the_labs_have() -> None:
    values = yaml.safe_load((KUBERNETES / "airflow" / "values.yaml").read_text())
    lock = (ROOT / "environments" / "airflow.in").read_text()
    assert f"apache-airflow=={values['airflowVersion']}\n" in lock
    image = tomllib.loads((ROOT / "catalog" / "airflow" / "image.toml").read_text())["name"]
    named_there = f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    assert (values["executor"], named_there) == ("KubernetesExecutor", image)
    claims = {one["metadata"]["name"] for one in build(".")
              if one["kind"] == "PersistentVolumeClaim"}  # fmt: skip
    assert values["volumes"][0]["persistentVolumeClaim"]["claimName"] in claims


def test_bindings_name_the_groups_of_the_sign_in() -> None:
    objects = build(".")
    namespace = next(o for o in objects if o["kind"] == "Namespace")["metadata"]["name"]
    for name, role in (("hpecp-member", 3), ("hpecp-tenant-admin", 2)):
        binding = named(objects, "RoleBinding", name)
        assert [one["name"] for one in binding["subjects"]] == [group_of(namespace, role)]
        assert binding["roleRef"]["name"] == name


def images(objects: list[Json]) -> set[str]:
    """Return every image that a build names, wherever it stands."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                is_image = key in ("image", "imageRepoTag", "defaultImageRepoTag")
                if isinstance(inner, str) and (is_image or key.endswith("_container_image")):
                    found.add(inner)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for obj in objects:
        walk(obj)
    return found


def test_site_names_all_images_in_one_place() -> None:
    ours = images(build(".")) | images(build("hub")) | images(build("../jupyterhub"))
    known = {
        tomllib.loads(file.read_text())["name"] for file in (ROOT / "catalog").glob("*/image.toml")
    }
    assert len(known) >= 4
    assert ours == known | {"labs/learner:1.0"}
    theirs = images(build("site-example"))
    assert len(theirs) == len(ours)
    assert all(image.startswith("ourteam/labs-") for image in theirs), theirs


def test_no_image_names_a_host() -> None:
    for image in images(build(".")) | images(build("hub")) | images(build("site-example")):
        assert not re.search(r"[.:]", image.partition("/")[0]), image


def test_site_leaves_no_name_of_the_default_tenant() -> None:
    objects = [obj for obj in build("site-example") if obj["metadata"]["name"] != "spark-conf"]
    # spark-defaults.conf names it too; platform.env has the last word there.
    assert "k8smltenant" not in yaml.safe_dump_all(objects)
    settings = named(build("site-example"), "ConfigMap", "labs-platform")["data"]
    assert settings["SPARK_CONF_spark_kubernetes_namespace"] == "physics"


def ports(policy: Json, way: str) -> set[int]:
    """Return the single ports that a policy opens."""
    rules = policy["spec"][way]
    return {
        port["port"] for rule in rules for port in rule.get("ports", ()) if "endPort" not in port
    }


def test_policies_open_exactly_the_ports_of_the_catalogue() -> None:
    objects = build(".")
    offered = {
        service["endpoint"]["port"]
        for obj in objects
        if obj["kind"] == "KubeDirectorApp"
        for service in obj["spec"]["services"]
    }
    for name in ("gateway", "learners"):
        assert ports(named(objects, "NetworkPolicy", name), "ingress") == offered, name
    opened = named(build("hub"), "NetworkPolicy", "learners")["spec"]["egress"]
    to_tenants = next(
        rule
        for rule in opened
        if rule["to"][0].get("namespaceSelector") == {"matchLabels": {"labs.house/part": "tenant"}}
    )
    ranges = [(p["port"], p.get("endPort", p["port"])) for p in to_tenants["ports"]]
    assert all(any(low <= port <= high for low, high in ranges) for port in offered)


def conf() -> dict[str, str]:
    """Return the settings of Spark that the hub's pods get."""
    lines = (KUBERNETES / "hub" / "spark-defaults.conf").read_text().splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def test_policies_open_the_ports_that_spark_is_told() -> None:
    settings, objects = conf(), build(".")
    told = {int(settings["spark.driver.port"]), int(settings["spark.blockManager.port"])}
    (called,) = named(objects, "NetworkPolicy", "spark-executors")["spec"]["egress"]
    (opened,) = called["ports"]
    assert all(opened["port"] <= port <= opened["endPort"] for port in told)
    assert opened["endPort"] - max(told) >= 16, "Spark tries sixteen ports more"


def test_labels_that_policies_ask_for_are_given() -> None:
    objects = [*build("."), *build("hub")]
    given = {
        obj["metadata"]["labels"]["labs.house/part"]
        for obj in objects
        if obj["kind"] == "Namespace"
    }
    asked = set(re.findall(r"labs\.house/part: (\w+)", text(KUBERNETES / "tenant")))
    assert asked - given == {"gateway"}, "a gateway inside of the cluster is the site's own"


def test_executors_take_what_the_doctor_counts() -> None:
    settings = conf()
    count = int(settings["spark.executor.instances"])
    memory = sizes.parse("1Gi") + sizes.parse("512Mi")
    assert (settings["spark.executor.memory"], settings["spark.executor.memoryOverhead"]) == (
        "1g",
        "512m",
    )
    assert count == int(room.EXECUTORS["pods"])
    assert count * memory == sizes.parse(room.EXECUTORS["memory"])
    cores = sizes.parse(settings["spark.kubernetes.executor.request.cores"])
    assert count * cores == sizes.parse(room.EXECUTORS["cpu"])


def lab(name: str) -> str:
    return (ROOT / "notebooks" / "_src" / "core" / f"{name}.py").read_text("utf-8")


def test_learner_takes_what_the_doctor_counts() -> None:
    notebook = {
        name: sizes.parse(
            re.findall(rf'^{name}: str = "(\w+)"', lab("02_deploy_notebook"), re.M)[0]
        )
        for name in ("cpu", "memory")
    }
    roles = re.findall(
        r'role\("(\w+)", (?:1|workers), cpu="(\w+)", memory="(\w+)"\)', lab("05_register")
    )
    assert len(roles) == 2
    assert re.search(r"^workers: int = 1 ", lab("05_register"), re.M)
    core = curriculum.load(ROOT).workshop("core")
    (git,) = re.findall(
        r'^few = {"cpu": "(\w+)", "memory": "(\w+)"}', lab("02_deploy_notebook"), re.M
    )
    assert sizes.parse(core.learner["pods"]) == 2 + len(roles)
    cpu = notebook["cpu"] + sizes.parse(git[0]) + sum(sizes.parse(cpu) for _, cpu, _ in roles)
    memory = (
        notebook["memory"]
        + sizes.parse(git[1])
        + sum(sizes.parse(memory) for _, _, memory in roles)
    )
    assert cpu == sizes.parse(core.learner["cpu"])
    assert memory == sizes.parse(core.learner["memory"])


def test_notebook_of_the_lab_is_what_the_workshop_says() -> None:
    for name, amount in curriculum.load(ROOT).workshop("core").notebook.items():
        assert f'{name}: str = "{amount}"' in lab("02_deploy_notebook")


def test_doctor_counts_with_the_largest_workshop() -> None:
    workshops = curriculum.load(ROOT).workshops
    assert len(workshops) > 1
    for one in workshops:
        for name, amount in one.learner.items():
            assert sizes.parse(sizes.learner()[name]) >= sizes.parse(amount), (one.id, name)


def test_quota_holds_the_class_it_says() -> None:
    for folder, students in ((".", 12), ("site-example", 30)):
        hard = named(build(folder), "ResourceQuota", "tenant-quota")["spec"]["hard"]
        wanted = room.needs(students, spark=True)
        assert {name for name in hard if name in wanted} >= {"pods", "services", "requests.memory"}
        for name, limit in hard.items():
            if name in wanted:
                assert sizes.parse(limit) >= wanted[name], f"{folder}: {name}"


def test_page_names_every_folder_and_no_other() -> None:
    page = (KUBERNETES / "README.md").read_text()
    told = set(
        re.findall(r"kubectl (?:apply|delete|diff) -k deploy/kubernetes(?:/([\w/-]+))?", page)
    )
    assert told <= {"", "site-example/tenant", *FOLDERS}
    assert "site-example" in told
    for folder in (path.name for path in KUBERNETES.iterdir() if path.is_dir()):
        assert f"`{folder}/`" in page, folder
