"""Put together what the keeper needs to start a container or a command beside it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labsandbox.node import confinement, images, processes, volumes
from labsandbox.node.environment import Find, build, command_line, service_links
from labsandbox.node.images import Image
from labsandbox.node.volumes import Mount

Object = dict[str, Any]

_SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"
REPOSITORY = "/bd-fs-mnt/project_repo"


class CannotRun(Exception):
    """The program of a container cannot be started; carries the exit code Kubernetes shows."""

    def __init__(self, message: str, code: int = 127) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Place:
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


def base_environment(pod: Object, place: Place, around: Surroundings, twin: str) -> dict[str, str]:
    """Return the variables the platform sets before the image's and the pod's own."""
    root, state = str(place.root), around.state
    beside = str(Path(sys.executable).parent)
    own_path = [f"{root}/usr/local/bin", f"{root}/usr/bin"]
    system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": ":".join([*own_path, beside, *system]),
        "HOME": f"{root}/root",
        "TMPDIR": f"{root}/tmp",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "LANG": "C.UTF-8",
        "POD_ROOT": root,
        "POD_LISTEN_IP": twin,
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
    place: Place,
    around: Surroundings,
    twin: str,
    find: Find,
    services: list[Object],
) -> dict[str, str]:
    """Return a container's whole environment; raise ConfigError when a source is missing."""
    base = base_environment(pod, place, around, twin)
    if pod["spec"].get("enableServiceLinks", True):
        base = service_links(services) | base
    return build(pod, container, base | image.env, find, around.allocatable)


# differs: a container's own files lie below $POD_ROOT, not at /; programs written for both say
# "${POD_ROOT:-}/path".
def prepare_root(place: Place, image: Image, mounts: list[Mount], attempt: int) -> None:
    """Make the container's root as the image has it, with its mounts; forget older runs."""
    shutil.rmtree(place.root, ignore_errors=True)
    for folder in ("tmp", "root", "etc", "dev", "var", "usr/local/bin", "opt"):
        (place.root / folder).mkdir(parents=True, exist_ok=True)
    images.unpack(image, place.root)
    volumes.link(place.root, mounts)
    for old in range(attempt - 1):
        for path in (place.log(old), Path(f"{place.log(old)}.1"), place.exit(old)):
            path.unlink(missing_ok=True)


def with_repository(mounts: list[Mount], folder: Path) -> list[Mount]:
    """Add the tenant's project repository unless the pod mounts something there itself."""
    if any(m.path == REPOSITORY or REPOSITORY.startswith(m.path + "/") for m in mounts):
        return mounts
    return [*mounts, Mount(REPOSITORY, folder, True)]


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


def working_folder(container: Object, root: Path) -> str:
    """Return the folder a container's program starts in."""
    place = root / str(container.get("workingDir") or "").lstrip("/")
    if not place.exists():
        place.mkdir(parents=True)
    return str(place)


def make_spec(
    identifier: str,
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    place: Place,
    mounts: list[Mount],
    around: Surroundings,
    image: Image,
) -> Object:
    """Return the request to the keeper, for a container as for a command beside it."""
    read = confinement.readable(around.state, image.read)
    return {
        "id": identifier,
        "program": find_program(argv[0], place.root, cwd, env.get("PATH", os.defpath)),
        "argv": argv,
        "env": env,
        "cwd": cwd,
        "confine": around.is_confined,
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
