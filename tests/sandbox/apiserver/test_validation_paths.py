"""Which paths of a pod are refused: those Kubernetes refuses, with its words."""

from __future__ import annotations

import pytest

from labsandbox.apiserver.validation.pods import volumes

pytestmark = pytest.mark.fast


def problems(**mount: str) -> list[str]:
    entry = {"name": "v", "mountPath": "/m", **mount}
    return [str(p) for p in volumes.validate_mounts([entry], {"v": {"emptyDir": {}}}, {}, "f")]


@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../x", "must not contain '..'"),
        ("a/../../x", "must not contain '..'"),
        ("..", "must not contain '..'"),
        ("/etc", "must be a relative path"),
        ("a\\..\\b", None),
        ("..data/a", None),
        ("a/..b", None),
        ("a", None),
    ],
)
def test_sub_path_must_lead_down(field: str, path: str, message: str | None) -> None:
    found = problems(**{field: path})
    assert [message in one for one in found if message] == ([True] if message else [])
    assert bool(found) == bool(message), found


def test_mount_path_is_the_nodes_to_judge() -> None:
    # A real API server accepts it too: the container runtime stops `..` at the container's root.
    assert problems(mountPath="/a/../../../etc") == []


@pytest.mark.parametrize("path", ["../x", "a/../x", "/x", "..x"])
def test_file_of_a_written_volume_keeps_to_the_volume(path: str) -> None:
    assert volumes.key_to_paths([{"key": "k", "path": path}], "f")
