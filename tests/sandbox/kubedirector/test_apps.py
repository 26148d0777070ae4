"""What is refused of kdapps and of the global configuration, and what is filled in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest

from labsandbox.kubedirector.admission.app import judge_app
from labsandbox.kubedirector.admission.config import judge_claim, judge_config
from labsandbox.kubedirector.admission.guard import Codes
from labsandbox.kubedirector.admission.verdict import Request, Verdict
from labsandbox.kubedirector.admission.world import World

from .judging import KEY
from .simulation import NAMESPACE, make_app, make_cluster

pytestmark = pytest.mark.fast

Object = dict[str, Any]
Change = Callable[[Object], Any]


def app_verdict(app: Object, old: Object | None = None, users: list[str] | None = None) -> Verdict:
    operation = "UPDATE" if old else "CREATE"
    request = Request(operation, copy.deepcopy(app), old or {}, NAMESPACE, "training-engine")
    return judge_app(request, World(app_users=users or []))


def edit(app: Object, change: Change) -> Object:
    change(app["spec"])
    return app


APP_REFUSALS: dict[str, tuple[Change, str]] = {
    "role twice": (
        lambda spec: spec["roles"].append(spec["roles"][0]),
        "Each id in the roles array must be unique.",
    ),
    "service twice": (
        lambda spec: spec["services"].append(spec["services"][0]),
        "Each id in the services array must be unique.",
    ),
    "selected twice": (
        lambda spec: spec["config"]["selectedRoles"].append("RESTServer"),
        "Each element of selectedRoles array in config section must be unique.",
    ),
    "role services twice": (
        lambda spec: spec["config"]["roleServices"].append(spec["config"]["roleServices"][0]),
        "Each roleID in roleServices array in config section must be unique.",
    ),
    "role services unknown role": (
        lambda spec: spec["config"]["roleServices"].append({"roleID": "x", "serviceIDs": []}),
        "Invalid roleID(x) in roleServices array in config section. "
        'Valid roles: "LoadBalancer,RESTServer"',
    ),
    "unknown service": (
        lambda spec: spec["config"]["roleServices"][0]["serviceIDs"].append("x"),
        "Invalid service_id(x) in roleServices array in config section. "
        'Valid services: "gunicorn,ssh"',
    ),
    "unknown selected role": (
        lambda spec: spec["config"]["selectedRoles"].append("x"),
        "Invalid element(x) in selectedRoles array in config section. "
        'Valid roles: "LoadBalancer,RESTServer"',
    ),
    "no image": (
        lambda spec: spec["roles"][0].pop("imageRepoTag"),
        "Role(LoadBalancer) has no specified image, and no top-level default image is specified.",
    ),
    "terminal": (
        lambda spec: spec["roles"][0].update(containerSpec={"tty": True}),
        "Role(LoadBalancer) requested TTY without STDIN.",
    ),
    "minimum storage": (
        lambda spec: spec["roles"][0].update(minStorage={"size": "x"}),
        "Minimum storage size for role (LoadBalancer) is incorrectly defined.",
    ),
    "dashboard": (
        lambda spec: spec["services"][1]["endpoint"].update(isDashboard=True),
        "The endpoint for service(ssh) must include a urlScheme value because isDashboard is true.",
    ),
}


@pytest.mark.parametrize("case", APP_REFUSALS)
def test_app_is_refused(case: str) -> None:
    change, message = APP_REFUSALS[case]
    assert app_verdict(edit(make_app(), change)).errors == [message]


def test_app_defaults_are_folded_into_roles() -> None:
    app = make_app(
        defaultImageRepoTag="labs/y:1.0",
        defaultConfigPackage={"packageURL": "file:///y.tgz"},
        defaultPersistDirs=["/data"],
        defaultEventList=["configure"],
        defaultMaxLogSizeDump=512,
    )
    one, other = (
        {"id": "LoadBalancer", "cardinality": "1"},
        {"id": "RESTServer", "cardinality": "1+"},
    )
    app["spec"]["roles"] = [one, other | {"configPackage": None, "maxLogSizeDump": 0}]
    verdict = app_verdict(app)
    assert verdict.errors == []
    spec = jsonpatch.apply_patch(app, verdict.patches)["spec"]
    assert not [name for name in spec if name.startswith("default")]
    assert spec["roles"][0] == {
        **one,
        "imageRepoTag": "labs/y:1.0",
        "configPackage": {"packageURL": "file:///y.tgz"},
        "persistDirs": ["/data"],
        "eventList": ["configure"],
        "maxLogSizeDump": 512,
    }
    assert spec["roles"][1]["configPackage"] is None
    assert spec["roles"][1]["maxLogSizeDump"] == 0


def test_app_without_defaults_gets_log_size_and_no_package() -> None:
    app = make_app()
    for role in app["spec"]["roles"]:
        del role["configPackage"], role["maxLogSizeDump"]
    spec = jsonpatch.apply_patch(app, app_verdict(app).patches)["spec"]
    assert [(r["configPackage"], r["maxLogSizeDump"]) for r in spec["roles"]] == [(None, 256)] * 2


def test_app_in_use_is_neither_changed_nor_deleted() -> None:
    users = ["a/one", "b/two"]
    message = (
        "KubeDirectorApp resource cannot be deleted or modified while referenced by the following "
        "KubeDirectorCluster resources: a/one, b/two"
    )
    old = make_app()
    assert app_verdict(make_app(version="2.0"), old, users).errors == [message]
    assert app_verdict(make_app(), old, users).errors == []
    assert app_verdict(make_app(version="2.0"), old).errors == []
    delete = Request("DELETE", {}, old, NAMESPACE, "training-engine")
    assert judge_app(delete, World(app_users=users)).errors == [message]
    assert judge_app(delete, World()).errors == []


def config_verdict(
    spec: Object | None, old: Object | None = None, place: str = "kubedirector", **seen: Any
) -> Verdict:
    obj: Object = {"metadata": {"name": "kd-global-config"}}
    if spec is not None:
        obj["spec"] = spec
    operation = "UPDATE" if old else "CREATE"
    request = Request(operation, obj, {"spec": old} if old else {}, place, "kd-global-config")
    return judge_config(request, World(**seen), Codes())


def test_config_defaults_are_filled_in() -> None:
    verdict = config_verdict(None)
    assert verdict.errors == []
    spec = jsonpatch.apply_patch({}, verdict.patches)["spec"]
    assert len(spec.pop("masterEncryptionKey")) == 64
    assert spec == {
        "defaultServiceType": "LoadBalancer",
        "nativeSystemdSupport": False,
        "clusterSvcDomainBase": ".svc.cluster.local",
        "defaultNamingScheme": "UID",
        "backupClusterStatus": False,
        "allowRestoreWithoutConnections": False,
    }


@pytest.mark.parametrize(
    ("spec", "old", "seen", "message"),
    [
        (
            {"defaultStorageClassName": "gone"},
            None,
            {},
            "Unable to fetch storageClass object with the provided name(gone).",
        ),
        (
            {"masterEncryptionKey": "zz"},
            None,
            {},
            "masterEncryptionKey is invalid. error: hexadecimal digits were expected.",
        ),
        (
            {"masterEncryptionKey": "1" * 64},
            {"masterEncryptionKey": KEY},
            {"any_clusters": True},
            "masterEncryptionKey value cannot be changed while kdclusters exist",
        ),
        (
            {},
            {"masterEncryptionKey": KEY},
            {"any_clusters": True},
            "masterEncryptionKey value cannot be changed while kdclusters exist",
        ),
    ],
)
def test_config_is_refused(spec: Object, old: Object | None, seen: Object, message: str) -> None:
    assert config_verdict(spec, old, **seen).errors == [message]


def test_config_belongs_into_one_namespace() -> None:
    assert config_verdict({}, place="default").errors == [
        "Invalid namespace 'default', must be 'kubedirector'."
    ]


def test_config_in_use_is_not_deleted() -> None:
    request = Request("DELETE", {}, {"spec": {}}, "kubedirector", "kd-global-config")
    assert judge_config(request, World(any_clusters=True), Codes()).errors == [
        "kd-global-config cannot be deleted while kdclusters exist"
    ]
    assert judge_config(request, World(), Codes()).errors == []


def test_claim_of_a_member_is_owned_by_its_cluster() -> None:
    request = Request("CREATE", {"metadata": {"name": "p-x-0"}}, {}, NAMESPACE, "p-x-0")
    assert judge_claim(request, World()).patches == []
    (patch,) = judge_claim(request, World(owner=make_cluster())).patches
    assert patch["path"] == "/metadata/ownerReferences"
    assert patch["value"][0]["uid"] == "5f1d"
