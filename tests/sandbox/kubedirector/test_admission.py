"""Every refusal of the webhook, the order of the checks, and what is filled in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest

from labsandbox.kubedirector import secretkey
from labsandbox.kubedirector.admission.app import judge_app
from labsandbox.kubedirector.admission.cluster import judge_cluster, judge_early
from labsandbox.kubedirector.admission.config import judge_claim, judge_config
from labsandbox.kubedirector.admission.guard import VIOLATION, Codes
from labsandbox.kubedirector.admission.verdict import Request, Verdict
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import Settings

from .simulation import NAMESPACE, make_app, make_cluster, make_role

pytestmark = pytest.mark.fast

Object = dict[str, Any]
KEY = "0" * 64


def world(**changes: Any) -> World:
    defaults: Object = {
        "app": make_app(),
        "settings": Settings(master_key=KEY),
        "secrets": frozenset({"s"}),
        "service_accounts": frozenset({"sa"}),
        "storage_classes": frozenset({"fast"}),
    }
    return World(**(defaults | changes))


def judge(new: Object, old: Object | None = None, seen: World | None = None) -> Verdict:
    operation = "UPDATE" if old else "CREATE"
    request = Request(
        operation, copy.deepcopy(new), copy.deepcopy(old or {}), NAMESPACE, "training"
    )
    return judge_cluster(request, seen or world())


def stored(**status: Any) -> Object:
    """Return a kdcluster as it lies in the API server, settled."""
    cluster = make_cluster()
    cluster["status"] = {"state": "configured", "observedGeneration": 1, "roles": [], **status}
    return cluster


def changed(cluster: Object, **spec: Any) -> Object:
    found = copy.deepcopy(cluster)
    found["spec"] |= spec
    return found


Change = Callable[[Object], Any]


def with_role(**more: Any) -> Object:
    return make_cluster(make_role("LoadBalancer"), make_role("RESTServer", **more))


REFUSALS: dict[str, tuple[Object, World, str]] = {
    "unknown app": (
        make_cluster(),
        world(app=None),
        "Invalid app(training-engine). This app resource ID has not been registered.",
    ),
    "cardinality fixed": (
        make_cluster(make_role("LoadBalancer", 2), make_role("RESTServer")),
        world(),
        "Invalid member count for role(LoadBalancer). Specified member count:2 Role cardinality:1",
    ),
    "cardinality least": (
        make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 0)),
        world(),
        "Invalid member count for role(RESTServer). Specified member count:0 Role cardinality:1+",
    ),
    "too many members": (
        make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 1000)),
        world(),
        "Maximum number of total members per KD cluster supported is 1000.",
    ),
    "unknown role": (
        make_cluster(make_role("LoadBalancer"), make_role("RESTServer"), make_role("controller")),
        world(),
        "Invalid role(controller) in app(training-engine) specified. "
        'Valid roles: "LoadBalancer,RESTServer"',
    ),
    "role twice": (
        make_cluster(make_role("LoadBalancer"), make_role("RESTServer"), make_role("RESTServer")),
        world(),
        "Each id in the roles array must be unique.",
    ),
    "role missing": (
        make_cluster(make_role("LoadBalancer")),
        world(),
        "Active role(RESTServer) in app(training-engine) must have its configuration included in "
        "the roles array.",
    ),
    "label": (
        with_role(podLabels={"a": "no spaces please"}),
        world(),
        'spec.roles[1].podLabels: Invalid value: "no spaces please": a label value has at most 63 '
        "characters: letters, digits, '-', '_' and '.', first and last a letter or digit",
    ),
    "service account absent": (
        with_role(serviceAccountName="nobody"),
        world(),
        "service account nobody requested by role RESTServer does not exist",
    ),
    "service account denied": (
        with_role(serviceAccountName="sa"),
        world(denied=frozenset({("serviceaccounts", "sa")})),
        'service account sa requested by role RESTServer is not accessible to user ""',
    ),
    "storage size": (
        with_role(storage={"size": "much"}),
        world(),
        "Storage size for role (RESTServer) is incorrectly defined.",
    ),
    "storage nothing": (
        with_role(storage={"size": "0"}),
        world(),
        "Storage size for role (RESTServer) should be greater than zero.",
    ),
    "storage class": (
        with_role(storage={"size": "1Gi", "storageClassName": "slow"}),
        world(),
        "Unable to fetch storageClassName(slow) for role(RESTServer).",
    ),
    "no default class": (
        with_role(storage={"size": "1Gi"}),
        world(),
        "storageClassName is not specified for one or more roles, and no default storage class is "
        "available.",
    ),
    "bad default class": (
        with_role(storage={"size": "1Gi"}),
        world(settings=Settings(storage_class="gone")),
        "storageClassName is not specified for one or more roles, and default storage class "
        "(gone) is not available on the system.",
    ),
    "shared memory": (
        with_role(sharedMemory="-1"),
        world(),
        "Shared memory size for role (RESTServer) should be greater than zero.",
    ),
    "shared memory form": (
        with_role(sharedMemory="a lot"),
        world(),
        "Shared memory size for role (RESTServer) is incorrectly defined.",
    ),
    "shared memory old": (
        with_role(sharedMemory="1Gi"),
        world(kubernetes=(1, 21)),
        "Specifying shared memory size for role (RESTServer) requires K8s version >= 1.22.",
    ),
    "shared memory off": (
        with_role(sharedMemory="1Gi"),
        world(settings=Settings(force_shared_memory=False)),
        "Specifying shared memory size for role (RESTServer) not allowed; feature disabled by "
        "global KubeDirector config.",
    ),
    "file injection": (
        with_role(fileInjections=[{"srcURL": "http://gone/x", "destDir": "/x"}]),
        world(unreachable={"http://gone/x": "404 Not Found"}),
        'Unable to access the specified URL("http://gone/x") in file injection spec for the role '
        "(RESTServer). error: 404 Not Found.",
    ),
    "default secret": (
        make_cluster(defaultSecret={"name": "gone", "mountPath": "/x"}),
        world(),
        f"Unable to find defaultSecret(gone) in namespace({NAMESPACE}).",
    ),
    "default secret prefix": (
        make_cluster(defaultSecret={"name": "s", "mountPath": "/x"}),
        world(settings=Settings(secret_prefix="hpecp-")),
        "defaultSecret(s) does not have the required name prefix(hpecp-).",
    ),
    "secret": (
        with_role(secret={"name": "gone", "mountPath": "/x"}),
        world(),
        f"Unable to find secret(gone) for role(RESTServer) in namespace({NAMESPACE}).",
    ),
    "secret prefix": (
        with_role(secret={"name": "s", "mountPath": "/x"}),
        world(settings=Settings(secret_prefix="hpecp-")),
        "Secret(s) for role(RESTServer) does not have the required name prefix(hpecp-).",
    ),
    "secret key by hand": (
        with_role(secretKeys=[{"name": "k", "encryptedValue": "00"}]),
        world(),
        "manually setting secret key (k) encrypted value is forbidden",
    ),
    "secret key without master": (
        with_role(secretKeys=[{"name": "k", "value": "v"}]),
        world(settings=Settings()),
        "cannot encrypt secret key k: masterEncryptionKey of kd-global-config is not usable: "
        "16, 24 or 32 bytes were expected and 0 were found.",
    ),
    "claim absent": (
        with_role(volumeProjections=[{"pvcName": "gone", "mountPath": "/x"}]),
        world(),
        f"Unable to find persistentvolumeclaim(gone) in namespace({NAMESPACE}) as specified for "
        "role(RESTServer).",
    ),
    "claim mode": (
        with_role(volumeProjections=[{"pvcName": "v", "mountPath": "/x"}]),
        world(claims={"v": {"spec": {"volumeMode": "Block", "accessModes": ["ReadWriteMany"]}}}),
        "Specified persistentvolumeclaim(v) for role (RESTServer) is invalid. VolumeMode(Block) "
        "for the underlying volume must be configured as Filesystem.",
    ),
    "claim not shared": (
        with_role(members=2, volumeProjections=[{"pvcName": "v", "mountPath": "/x"}]),
        world(claims={"v": {"spec": {"accessModes": ["ReadWriteOnce"]}}}),
        "Specified persistentvolumeclaim(v) is invalid. AccessModes for this volume must contain "
        "either ReadWriteMany or ReadOnlyMany, since its consumed by more than 1 member of the "
        "cluster.",
    ),
    "claim denied": (
        with_role(volumeProjections=[{"pvcName": "v", "mountPath": "/x"}]),
        world(
            claims={"v": {"spec": {"accessModes": ["ReadWriteMany"]}}},
            denied=frozenset({("persistentvolumeclaims", "v")}),
        ),
        'persistentvolumeclaim v requested by role RESTServer is not accessible to user ""',
    ),
    "mount path twice": (
        with_role(
            volumeProjections=[
                {"pvcName": "v", "mountPath": "/x"},
                {"pvcName": "v", "mountPath": "/x"},
            ]
        ),
        world(claims={"v": {"spec": {"accessModes": ["ReadWriteMany"]}}}),
        "Specified mountPath(/x) for role(RESTServer) is invalid. It must be unique within the "
        "role.",
    ),
    "mount path of the system": (
        with_role(volumeProjections=[{"pvcName": "v", "mountPath": "/tmp"}]),
        world(claims={"v": {"spec": {"accessModes": ["ReadWriteMany"]}}}),
        "Specified mountPath(/tmp) for role(RESTServer) is invalid. It clashes with system "
        "generated mountPath.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_new_cluster_is_refused(case: str) -> None:
    cluster, seen, message = REFUSALS[case]
    verdict = judge(cluster, seen=seen)
    assert verdict.errors == [message]
    assert verdict.message == f"\n{message}"


def test_minimum_resources_are_checked() -> None:
    app = make_app()
    app["spec"]["roles"][1] |= {"minResources": {"cpu": "2", "memory": "1Gi"}}
    requests = {"cpu": "500m", "memory": "4Gi"}
    cluster = with_role(resources={"limits": requests, "requests": requests})
    assert judge(cluster, seen=world(app=app)).errors == [
        'Specified resource("cpu") value("500m") for role("RESTServer") is invalid. Minimum value '
        'must be "2".'
    ]


@pytest.mark.parametrize(
    ("storage", "ephemeral", "errors"),
    [
        (None, True, 0),
        (None, False, 1),
        ({"size": "1Gi", "storageClassName": "fast"}, False, 1),
        ({"size": "5Gi", "storageClassName": "fast"}, False, 0),
    ],
)
def test_minimum_storage_is_checked(storage: Object | None, ephemeral: bool, errors: int) -> None:
    app = make_app()
    minimum = {"size": "5Gi", "ephemeralModeSupported": ephemeral}
    app["spec"]["roles"][1] |= {"minStorage": minimum}
    verdict = judge(with_role(storage=storage), seen=world(app=app))
    assert len(verdict.errors) == errors
    assert all('Minimum size must be "5Gi".' in error for error in verdict.errors)


def test_errors_come_in_the_published_order() -> None:
    cluster = make_cluster(
        make_role("LoadBalancer", 2, serviceAccountName="nobody", storage={"size": "x"}),
        make_role("wrong", sharedMemory="x", secret={"name": "gone", "mountPath": "/x"}),
    )
    starts = [
        "Invalid member count",
        "Invalid role(wrong)",
        "Active role(RESTServer)",
        "service account nobody",
        "Storage size",
        "Shared memory size",
        "Unable to find secret",
    ]
    errors = judge(cluster).errors
    assert [error[: len(start)] for error, start in zip(errors, starts, strict=True)] == starts


def test_defaults_are_filled_in() -> None:
    cluster = make_cluster(
        make_role("LoadBalancer", storage={"size": "1Gi"}),
        make_role("RESTServer", secretKeys=[{"name": "k", "value": "hidden"}]),
        defaultSecret={"name": "s", "mountPath": "/s"},
    )
    for name in ("appCatalog", "namingScheme", "serviceType"):
        del cluster["spec"][name]
    del cluster["spec"]["roles"][0]["members"]
    verdict = judge(cluster, seen=world(default_storage_class="fast"))
    assert verdict.errors == []
    spec = jsonpatch.apply_patch(cluster, verdict.patches)["spec"]
    assert (spec["appCatalog"], spec["namingScheme"], spec["serviceType"]) == (
        "local",
        "UID",
        "LoadBalancer",
    )
    assert spec["roles"][0]["members"] == 1
    assert spec["roles"][0]["storage"]["storageClassName"] == "fast"
    assert [role["secret"]["name"] for role in spec["roles"]] == ["s", "s"]
    (key,) = spec["roles"][1]["secretKeys"]
    assert set(key) == {"name", "encryptedValue"}
    assert secretkey.decrypt(key["encryptedValue"], KEY) == "hidden"


def test_app_of_the_system_catalogue_is_marked_so() -> None:
    app = make_app()
    app["metadata"]["namespace"] = "kubedirector"
    cluster = make_cluster()
    del cluster["spec"]["appCatalog"]
    patches = judge(cluster, seen=world(app=app)).patches
    assert {"op": "add", "path": "/spec/appCatalog", "value": "system"} in patches


def early(
    operation: str,
    new: Object,
    old: Object | None = None,
    codes: Codes | None = None,
    subresource: str = "",
) -> Verdict | None:
    request = Request(operation, new, old or {}, NAMESPACE, "training", subresource)
    return judge_early(request, codes or Codes())


def test_unchanged_spec_is_admitted_at_once() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"anything": "goes"}
    verdict = early("UPDATE", new, old)
    assert verdict is not None
    assert verdict.errors == []


def test_changed_spec_is_judged_in_full() -> None:
    old = stored()
    assert early("UPDATE", changed(old, serviceType="ClusterIP"), old) is None


def test_status_written_by_a_user_is_refused() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["status"]["state"] = "creating"
    for subresource in ("", "status"):
        verdict = early("UPDATE", new, old, subresource=subresource)
        assert verdict is not None
        assert verdict.errors == [VIOLATION]


def test_status_is_written_once_for_each_announced_code() -> None:
    codes = Codes()
    old = stored()
    new = copy.deepcopy(old)
    new["status"] |= {"state": "updating", "generationUID": "g1"}
    codes.expect("5f1d", "g1")
    for errors in ([], [VIOLATION]):
        verdict = early("UPDATE", new, old, codes, "status")
        assert verdict is not None
        assert verdict.errors == errors
    codes.forget("5f1d")
    verdict = early("UPDATE", new, old, codes, "status")
    assert verdict is not None
    assert verdict.errors == [VIOLATION]


def test_write_from_an_old_version_is_left_to_the_conflict() -> None:
    old = stored()
    new = copy.deepcopy(old)
    new["metadata"]["resourceVersion"] = "0"
    new["status"]["state"] = "creating"
    verdict = early("UPDATE", new, old)
    assert verdict is not None
    assert verdict.errors == []


def test_accepted_change_marks_the_spec_as_modified() -> None:
    old = stored()
    verdict = judge(changed(old, serviceType="ClusterIP"), old)
    assert verdict.errors == []
    state = {"op": "replace", "path": "/status/state", "value": "spec modified"}
    assert state in verdict.patches


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            {"state": "spec modified"},
            "Change to spec not allowed before previous spec change has been processed.",
        ),
        (
            {"observedGeneration": 0},
            "Change to spec not allowed before previous spec change has been processed.",
        ),
        (
            {
                "roles": [
                    {
                        "id": "RESTServer",
                        "members": [{"stateDetail": {"pendingNotifyCmds": [{"arguments": []}]}}],
                    }
                ]
            },
            "Change to spec not allowed because some members have not processed notifications of "
            "previous change.",
        ),
    ],
)
def test_second_change_waits_for_the_first(status: Object, message: str) -> None:
    old = stored(**status)
    assert judge(changed(old, serviceType="ClusterIP"), old).errors == [message]


def test_change_before_the_operator_saw_the_cluster_is_refused() -> None:
    old = make_cluster()
    assert judge(changed(old, serviceType="ClusterIP"), old).errors == [
        "Change to spec not allowed before previous spec change has been processed."
    ]


def test_app_is_read_only_and_that_is_all_that_is_said() -> None:
    old = stored()
    new = changed(old, app="other", appCatalog="system", roles=[make_role("wrong")])
    assert judge(new, old).errors == [
        "The app property is read-only.",
        "The appCatalog property is read-only.",
    ]


def test_role_with_members_keeps_its_properties() -> None:
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    role = make_role("RESTServer", env=[{"name": "a", "value": "b"}])
    refused = (
        "Role(RESTServer) properties other than the members count cannot be modified while role "
        "members exist."
    )
    assert judge(changed(old, roles=[make_role("LoadBalancer"), role]), old).errors == [refused]
    # The count may change, the same amount may be written in another way, a new role is free.
    same = make_role("RESTServer", 3, resources={"limits": {"cpu": "0.5", "memory": "2048Mi"}})
    balancer = make_role("LoadBalancer", env=[{"name": "a", "value": "b"}])
    assert judge(changed(old, roles=[balancer, same]), old).errors == []


def test_role_that_goes_away_cannot_come_back_too_early() -> None:
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    old["spec"]["roles"] = [make_role("LoadBalancer")]
    new = changed(old, roles=[make_role("LoadBalancer"), make_role("RESTServer")])
    assert "Role(RESTServer) properties" in judge(new, old).errors[0]


def test_secret_key_with_the_same_value_is_no_change() -> None:
    encrypted = secretkey.encrypt("v", KEY)
    old = stored(roles=[{"id": "RESTServer", "members": []}])
    old["spec"]["roles"][1]["secretKeys"] = [{"name": "k", "encryptedValue": encrypted}]
    again = make_role("RESTServer", secretKeys=[{"name": "k", "value": "v"}])
    kept = make_role("RESTServer", secretKeys=[{"name": "k", "encryptedValue": encrypted}])
    other = make_role("RESTServer", secretKeys=[{"name": "k", "value": "w"}])
    for role, count in ((again, 0), (kept, 0), (other, 1)):
        roles = [make_role("LoadBalancer"), role]
        assert len(judge(changed(old, roles=roles), old).errors) == count


def test_restored_cluster_is_admitted_and_labelled() -> None:
    for labels in ({}, {"a": "b"}):
        cluster = make_cluster()
        cluster["spec"]["app"] = "not-there-yet"
        cluster["metadata"] |= {
            "labels": labels,
            "annotations": {"kubedirector.hpe.com/status-backup-exists": "true"},
        }
        verdict = early("CREATE", cluster)
        assert verdict is not None
        assert verdict.errors == []
        made = jsonpatch.apply_patch(cluster, verdict.patches)
        assert made["metadata"]["labels"] == labels | {"kubedirector.hpe.com/restoring": ""}


def test_restoring_cluster_is_frozen() -> None:
    old = stored()
    old["metadata"]["labels"] = {"kubedirector.hpe.com/restoring": ""}
    refused = early("DELETE", {}, old)
    assert refused is not None
    assert "delete not allowed while kubedirector.hpe.com/restoring label" in refused.errors[0]
    refused = early("UPDATE", changed(old, serviceType="ClusterIP"), old)
    assert refused is not None
    assert "spec changes not allowed while" in refused.errors[0]
    released = copy.deepcopy(old)
    released["metadata"]["labels"] = {}
    assert early("UPDATE", released, old) is None
    old["metadata"]["labels"]["kubedirector.hpe.com/allow-delete-while-restoring"] = ""
    allowed = early("DELETE", {}, old)
    assert allowed is not None
    assert allowed.errors == []


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
