"""Put together what the keeper needs to start a container or a command beside it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labsandbox import network, tree
from labsandbox.node import confinement, images, processes, tmpdir, volumes
from labsandbox.node.environment import Find, build, command_line, memory_limit, service_links
from labsandbox.node.images import Image
from labsandbox.node.volumes import Mount, MountError
from labsandbox.tree import Route

Object = dict[str, Any]

_SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
REPOSITORY = "/bd-fs-mnt/project_repo"


class CannotRun(Exception):
    """The program of a container cannot be started; carries the exit code Kubernetes shows."""

    def __init__(self, message: str, code: int = 127) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ContainerFolder:
    """The folders of one container."""

    folder: Path

    @property
    def root(self) -> Path:
        """Return what the container sees as its own root."""
        return self.folder / "root"

    @property
    def pipes(self) -> list[Path]:
        """Return the pipes its output goes through."""
        return [self.folder / "stdout", self.folder / "stderr"]

    def log(self, attempt: int) -> Path:
        """Return the log of one run."""
        return self.folder / f"{attempt}.log"

    def exit(self, attempt: int) -> Path:
        """Return where the keeper writes how one run ended."""
        return self.folder / f"{attempt}.exit"


@dataclass(frozen=True)
class Surroundings:
    """What a node gives every container."""

    state: Path
    mark: str
    server: tuple[str, str]  # host and port of the API server
    is_confined: bool
    allocatable: dict[str, str] = field(default_factory=dict)


def base_environment(
    pod: Object,
    place: ContainerFolder,
    around: Surroundings,
    listen_address: str,
    python: str = sys.executable,
) -> dict[str, str]:
    """Return the variables the platform sets before the image's and the pod's own."""
    root, state = str(place.root), around.state
    beside = str(Path(python).parent)
    own_path = [f"{root}/usr/local/bin", f"{root}/usr/bin"]
    system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    first = network.first_port(pod["status"].get("podIP") or "")
    shared = {} if first is None else {"POD_LISTEN_PORTS": f"{first}/{network.SPAN}"}
    return shared | {
        "PATH": ":".join([*own_path, beside, *system]),
        "HOME": f"{root}/root",
        "TMPDIR": tmpdir.make(place.root),
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "LANG": "C.UTF-8",
        "POD_ROOT": root,
        "POD_LISTEN_IP": listen_address,
        "PROJECT_REPO": root + REPOSITORY,
        "LABSANDBOX_NAMESPACE": pod["metadata"]["namespace"],
        "PYTHONPATH": f"{state}/resolver:{state}/node/lib",
        "CURL_HOME": f"{state}/resolver",
        "JDK_JAVA_OPTIONS": f"-Djdk.net.hosts.file={state}/resolver/hosts "
        f"-Djava.io.tmpdir={root}/tmp -XX:-UsePerfData",
        "KUBERNETES_SERVICE_HOST": around.server[0],
        "KUBERNETES_SERVICE_PORT": around.server[1],
        "KUBERNETES_SERVICE_PORT_HTTPS": around.server[1],
    }


def environment(
    pod: Object,
    container: Object,
    image: Image,
    place: ContainerFolder,
    around: Surroundings,
    listen_address: str,
    find: Find,
    services: list[Object],
) -> dict[str, str]:
    """Return a container's whole environment; raise ConfigError when a source is missing."""
    base = base_environment(pod, place, around, listen_address, image.python)
    if (most := memory_limit(container)) is not None:
        # Nothing else tells a program here: on a real node it asks its control group.
        base["POD_MEMORY_LIMIT"] = str(most)
    if pod["spec"].get("enableServiceLinks", True):
        base = service_links(services) | base
    return build(pod, container, base | image.env, find, around.allocatable)


# differs: a container's own files lie below $POD_ROOT, not at /; programs written for both say
# "${POD_ROOT:-}/path".
def prepare_root(place: ContainerFolder, image: Image, mounts: list[Mount], attempt: int) -> None:
    """Make the container's root as the image has it, with its mounts; forget older runs.

    The new root is a new folder even where the old one cannot be emptied: a program that outlived
    its container keeps its rights on the old one and has none on this.
    """
    if os.path.lexists(place.root):
        tree.remove(_put_aside(place.root))
    try:
        place.root.mkdir()
        root = tree.open_route((str(place.root),))
        try:
            for folder in ("tmp", "root", "etc", "dev", "var", "usr/local/bin", "opt"):
                os.close(tree.make_folders(root, folder))
            images.unpack(image, place.root, root)
        finally:
            os.close(root)
        volumes.link(place.root, mounts)
    except (OSError, MountError) as error:
        raise CannotRun(f"its root cannot be made: {error}", 128) from error
    for old in range(attempt - 1):
        for path in (place.log(old), Path(f"{place.log(old)}.1"), place.exit(old)):
            path.unlink(missing_ok=True)


def _put_aside(root: Path) -> str:
    aside = f"{root}.{os.urandom(8).hex()}"
    os.rename(root, aside)
    return aside


def with_repository(mounts: list[Mount], folder: Path) -> list[Mount]:
    """Add the tenant's project repository unless the pod mounts something there itself."""
    if any(m.path == REPOSITORY or REPOSITORY.startswith(m.path + "/") for m in mounts):
        return mounts
    return [*mounts, Mount(REPOSITORY, (str(folder),), True)]


def find_program(name: str, root: Path, cwd: str, path: str) -> str:
    """Return the host file a command's first word means, the container's own root first."""
    if "/" in name:
        places = [str(root) + name, name] if name.startswith("/") else [os.path.join(cwd, name)]
        found = next((place for place in places if os.path.exists(place)), None)
        if found is None:
            raise CannotRun(f'exec: "{name}": stat {name}: no such file or directory')
        if not os.access(found, os.X_OK) or os.path.isdir(found):
            raise CannotRun(f'exec: "{name}": permission denied', 126)
        return found
    found = shutil.which(name, path=path)
    if found is None:
        raise CannotRun(f'exec: "{name}": executable file not found in $PATH')
    return found


def working_folder(container: Object, root: Path, mounts: list[Mount]) -> Route:
    """Return the folder a container's program starts in, made when it is missing."""
    path = str(container.get("workingDir") or "")
    route = volumes.inside(root, mounts, path)
    try:
        folder = tree.open_route(route[:-1])
        try:
            os.close(_open_or_make(folder, route[-1]))
        finally:
            os.close(folder)
    except OSError as error:
        raise CannotRun(
            f"workingDir {path!r}: {error.strerror}; expected a folder inside the container", 128
        ) from error
    return route


def _open_or_make(folder: int, path: str) -> int:
    try:
        return tree.open_at(folder, path, os.O_PATH | os.O_DIRECTORY, follow=True)
    except FileNotFoundError:
        return tree.make_folders(folder, path, follow=True)


def make_spec(
    identifier: str,
    argv: list[str],
    env: dict[str, str],
    cwd: Route,
    place: ContainerFolder,
    mounts: list[Mount],
    around: Surroundings,
    image: Image,
    shm: str | None = None,
) -> Object:
    """Return the request to the keeper, for a container as for a command beside it."""
    read = confinement.readable(around.state, image.read, image.python)
    return {
        "id": identifier,
        "program": find_program(argv[0], place.root, "/".join(cwd), env.get("PATH", os.defpath)),
        "argv": argv,
        "env": env,
        "cwd": cwd,
        "confine": around.is_confined,
        "sockets": bool(image.unix_sockets),
        "shm": shm,
        "share_shm": bool(image.shared_memory),
        "read": [*read, *confinement.mounted_readable(mounts)],
        "write": confinement.writable(place.root, place.pipes, mounts),
        "limits": {"RLIMIT_CORE": 0},
        "folder": str(place.folder),
    }


def marked(env: dict[str, str], around: Surroundings, identifier: str) -> dict[str, str]:
    """Return an environment by which a container's processes can be found."""
    return {**env, processes.NODE_MARK: around.mark, processes.CONTAINER_MARK: identifier}


def write_spec(path: Path, spec: Object) -> None:
    """Write a request where the keeper reads it; it holds secrets, so only its owner may."""
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(spec, file)


def arguments(container: Object, image: Image, env: dict[str, str]) -> list[str]:
    """Return the command line; raise CannotRun when neither pod nor image has one."""
    words = command_line(container, image.command, image.args, env)
    if not words:
        raise CannotRun("no command specified")
    return words
