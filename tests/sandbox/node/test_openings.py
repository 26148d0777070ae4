"""Nothing in the node opens, makes or removes a path by its name, but these few with a reason.

A path that a manifest, a volume, an image or a program can choose, or can put a link into, goes
through `labsandbox/tree.py`. A new call here needs a line below that says why nobody else can
choose or replace that path.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

NODE = Path(__file__).parents[3] / "labsandbox" / "node"

FUNCTIONS = {
    "open": {""},
    "copyfile": {"shutil"}, "copytree": {"shutil"}, "copy": {"shutil"}, "copy2": {"shutil"},
    "move": {"shutil"}, "rmtree": {"shutil"},
    **{
        name: {"os"}
        for name in (
            "chmod", "chown", "lchown", "chdir", "fchdir", "link", "listdir", "makedirs", "mkdir",
            "mkfifo", "mknod", "open", "readlink", "remove", "removedirs", "rename", "replace",
            "rmdir", "scandir", "symlink", "truncate", "unlink", "utime", "walk",
        )
    },
}  # fmt: skip
FUNCTIONS["open"] = {"", "os"}
FUNCTIONS["replace"] = {"os", "files"}
FUNCTIONS["write_private"] = {"files"}
METHODS = {
    "chmod", "glob", "hardlink_to", "iterdir", "mkdir", "open", "read_bytes", "read_text",
    "readlink", "rename", "rglob", "rmdir", "symlink_to", "touch", "unlink", "write_bytes",
    "write_text",
}  # fmt: skip

STATE = "below the state folder, where no pod may write"
PROC = "a file of the kernel"
OURS = "a file of this installation or of the machine"
ALLOWED = {
    ("agent", "Agent.__init__"): STATE,
    ("agent", "Agent._remove_orphans"): STATE,
    ("commands", "run"): PROC,
    ("commands", "start"): STATE,
    ("confinement", "public"): OURS,
    ("confinement", "readable"): STATE,
    ("container", "Runner._ask_to_start"): STATE,
    ("container", "Runner._read_exit"): STATE,
    ("container", "Runner._resume"): STATE,
    ("fence", "enter"): "a descriptor that tree.py opened",
    ("guard", "_read"): STATE,
    ("guard", "attempt"): STATE,
    ("hook", "_read"): STATE,
    ("images", "Images.known"): OURS,
    ("images", "_read"): OURS,
    ("images", "pack"): OURS,
    ("images", "unpack"): "from the catalogue into a root that nothing has run in yet",
    ("intake", "Intake.__init__"): STATE,
    ("intake", "Intake.close"): STATE,
    ("journal", "Log._open"): STATE,
    ("journal", "Log.write"): STATE,
    ("keeper", "Keeper._do_adopt"): STATE,
    ("keeper", "Keeper._do_start"): STATE,
    ("keeper", "Keeper._finish"): STATE,
    ("keeper", "Keeper._listen"): STATE,
    ("keeper", "_read_spec"): STATE,
    ("keeper", "main"): STATE,
    ("key", "hello"): STATE,
    ("key", "make"): STATE,
    ("launch", "_put_aside"): STATE,
    ("launch", "prepare_root"): STATE,
    ("launch", "write_spec"): STATE,
    ("logs", "_from"): STATE,
    ("logs", "read_whole"): STATE,
    ("mounting", "Mounter._source"): STATE,
    ("pod", "PodWorker.repository"): STATE,
    ("pod", "PodWorker.run"): STATE,
    ("pressure", "_read"): PROC,
    ("records", "PodRecord.save"): STATE,
    ("records", "load"): STATE,
    ("registration", "_read"): PROC,
    ("registration", "link_packages"): STATE,
    ("resolver", "Resolver._write"): STATE,
    ("resolver", "Resolver.install"): STATE,
    ("shm", "remove"): "names of folders on /dev/shm, which pods do not see",
    ("storage", "_walk"): "it adds up sizes and shows nothing else",
    ("storage", "free"): "names of folders of the state folder",
    ("streams", "_with_pipes"): PROC,
    ("server", "Server._open"): "the streams of a connection",
    ("supervisor", "Supervisor._start"): STATE,
    ("supervisor", "Supervisor._try_connect"): STATE,
    ("tmpdir", "ensure"): "a folder in /tmp of this user alone, which is checked",
    ("tmpdir", "make"): "links in that folder",
    ("tmpdir", "remove"): "links in that folder",
    ("usage", "_machine_memory"): PROC,
    ("usage", "_machine_seconds"): PROC,
    ("view", "_say"): PROC,
    ("view", "enter"): "the pod's own /dev/shm",
    ("volumes", "_host_folder"): "a folder the platform's user allowed by name",
    ("volumes", "_read_files"): STATE,
    ("volumes", "_write_dated"): STATE,
    ("volumes", "write_files"): STATE,
}


def openings(source: str, module: str) -> Iterator[tuple[str, str]]:
    """Yield (module, function) of every call that takes a path by its name."""

    def visit(node: ast.AST, inside: list[str]) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = [*inside, node.name]
        if isinstance(node, ast.Call) and takes_path(node):
            yield module, ".".join(inside)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), [])


def takes_path(node: ast.Call) -> bool:
    function = node.func
    if isinstance(function, ast.Name):
        return "" in FUNCTIONS.get(function.id, ())
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value.id if isinstance(function.value, ast.Name) else None
    if owner in ("os", "shutil", "files"):
        return owner in FUNCTIONS.get(function.attr, ())
    return owner not in ("tree", "webbrowser") and function.attr in METHODS


def test_node_opens_no_path_by_name_without_a_reason() -> None:
    # `processes` reads /proc alone; the program for other confinements starts what it is told.
    files = [file for file in sorted(NODE.glob("*.py")) if file.stem != "processes"]
    found = Counter(one for file in files for one in openings(file.read_text(), file.stem))
    assert sorted(set(found) - set(ALLOWED)) == [], "use labsandbox/tree.py, or say why not"
    assert sorted(set(ALLOWED) - set(found)) == [], "these open nothing any more"


@pytest.mark.parametrize(
    "line",
    ["open(path)", "os.open(path, 0)", "shutil.rmtree(path)", "Path(path).read_bytes()",
     "place.mkdir()", "os.symlink(a, b)", "(root / path).write_text('')", "os.chmod(path, 0)",
     "files.replace(path, '')"],
)  # fmt: skip
def test_rule_finds(line: str) -> None:
    source = f"def f():\n    {line}\n"
    assert list(openings(source, "m")) == [("m", "f")]
    assert list(openings("def f():\n    tree.open_at(root, path, 0)\n", "m")) == []
