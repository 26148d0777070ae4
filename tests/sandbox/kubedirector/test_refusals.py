"""Every refusal of a new kdcluster, the order of the checks, and what is filled in."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from labsandbox.kubedirector import secretkey
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import GlobalConfig

from .judging import KEY, judge, world
from .simulation import NAMESPACE, make_app, make_cluster, make_role

pytestmark = pytest.mark.fast

Object = dict[str, Any]


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
        world(settings=GlobalConfig(storage_class="gone")),
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
        world(settings=GlobalConfig(force_shared_memory=False)),
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
        world(settings=GlobalConfig(secret_prefix="hpecp-")),
        "defaultSecret(s) does not have the required name prefix(hpecp-).",
    ),
    "secret": (
        with_role(secret={"name": "gone", "mountPath": "/x"}),
        world(),
        f"Unable to find secret(gone) for role(RESTServer) in namespace({NAMESPACE}).",
    ),
    "secret prefix": (
        with_role(secret={"name": "s", "mountPath": "/x"}),
        world(settings=GlobalConfig(secret_prefix="hpecp-")),
        "Secret(s) for role(RESTServer) does not have the required name prefix(hpecp-).",
    ),
    "secret key by hand": (
        with_role(secretKeys=[{"name": "k", "encryptedValue": "00"}]),
        world(),
        "manually setting secret key (k) encrypted value is forbidden",
    ),
    "secret key without master": (
        with_role(secretKeys=[{"name": "k", "value": "v"}]),
        world(settings=GlobalConfig()),
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
