"""What stops the doors `workingDir`, `items` and `hostPath`: with it off, the same attack succeeds.

The node's own functions, on folders of the test. Each attack is played with the protection, then
with a layer of it switched off: an attack that is stopped either way would prove nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labsandbox import tree
from labsandbox.node import launch, volumes
from labsandbox.node.environment import ConfigError

pytestmark = pytest.mark.fast
REFUSED = (launch.CannotRun, volumes.MountError, ConfigError, OSError)
Attack = Callable[[Path, Path], None]


def working_folder(root: Path, outside: Path) -> None:
    (root / "l").symlink_to(outside)
    launch.working_folder({"workingDir": "/l/made"}, root, [])


def working_folder_in_a_volume(root: Path, outside: Path) -> None:
    (root / "volume").mkdir()
    (root / "volume/l").symlink_to(os.path.relpath(outside, root / "volume"))
    mounts = [volumes.Mount("/v", (str(root / "volume"),), True)]
    launch.working_folder({"workingDir": "/v/l/made"}, root, mounts)


def items(root: Path, outside: Path) -> None:
    up = os.path.relpath(outside, root / "volume" / "dated")
    volumes.write_files(root / "volume", {f"{up}/made": (b"x", 0o644)})


def host_path(root: Path, outside: Path) -> None:
    (root / "l").symlink_to(outside)
    route = volumes.permitted(root / "l" / "made", [root])
    os.close(tree.open_route(route))


ATTACKS: dict[str, Attack] = {
    "workingDir": working_folder,
    "workingDir in a volume": working_folder_in_a_volume,
    "items": items,
    "hostPath": host_path,
}


def play(attack: str, folder: Path) -> bool:
    """Play an attack in a folder of its own; tell whether something was made outside."""
    root, outside = folder / "root", folder / "outside"
    root.mkdir(parents=True)
    outside.mkdir()
    with contextlib.suppress(*REFUSED):
        ATTACKS[attack](root, outside)
    return (outside / "made").exists()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("is_old_kernel", [False, True])
def test_attack_is_stopped_and_succeeds_without_the_protection(
    attack: str, is_old_kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as kernel:
        if is_old_kernel:
            kernel.setattr(tree, "has_openat2", lambda: False)
        assert not play(attack, tmp_path / "protected")
    # Off: paths are resolved as `open` does, and no text is looked at.
    monkeypatch.setattr(tree, "_BENEATH", 0)
    monkeypatch.setattr(volumes, "_safe", lambda path: path)
    assert play(attack, tmp_path / "open")


def test_each_layer_alone_stops_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as text:
        text.setattr(volumes, "_safe", lambda path: path)
        assert not play("items", tmp_path / "by the kernel")
    monkeypatch.setattr(tree, "_BENEATH", 0)
    assert not play("items", tmp_path / "by the text")


def test_folder_that_is_not_shared_is_no_host_path(tmp_path: Path) -> None:
    with pytest.raises(volumes.MountError, match="is not shared with pods"):
        volumes.permitted(tmp_path / "b", [tmp_path / "a"])
    assert not (tmp_path / "b").exists()
