"""The project repository: can we write to it, and do pods see the same folder?"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from labclass.checkup.api import Api
from labclass.checkup.catalogue import SHARED
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import SECONDS, Visit

# Where pods have it; a program on the laptop platform finds its own place in PROJECT_REPO.
_IN_POD = '"${PROJECT_REPO:-/bd-fs-mnt/project_repo}"'


def seen(visit: Visit) -> Iterator[Finding]:
    """Write here and read in a pod, write in the pod and read here; remove both."""
    folder = Path(visit.value("PROJECT_REPO"))
    mark = secrets.token_hex(8)
    here, there = f".labs-doctor-{mark}", f".labs-doctor-{mark}-pod"
    with contextlib.ExitStack() as stack:
        written = False
        if folder.is_dir():
            expected = f"to write to PROJECT_REPO, {folder}"
            problem = _write(folder / here, mark)
            if problem:
                yield missing(
                    "Repository",
                    expected,
                    problem,
                    "Mount it writable, and let the user that learners run as own the folder: labs "
                    "keep tables, models and code there.",
                )
            else:
                written = True
                for name in (here, there):
                    stack.callback(_remove, folder / name)
                yield ok("Repository", expected, "written, and removed again")
        else:
            yield advice(
                "Repository",
                f"PROJECT_REPO on this machine, {folder}",
                "no such folder here",
                "That is so where it exists on the hub only. There, run this in a learner's "
                "terminal once.",
            )
        yield _in_pod(visit.require_api(), folder, mark, here if written else "", there)


def _write(path: Path, text: str) -> str:
    try:
        path.write_text(text, "utf-8")
        return ""
    except OSError as error:
        return str(error.strerror)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _in_pod(api: Api, folder: Path, mark: str, here: str, there: str) -> Finding:
    expected = "the same folder in a pod, to read and to write"
    pod = _running_pod(api)
    if pod is None:
        cure = "Once the shared training cluster is configured, this can be shown."
        return advice("In pods", expected, "no pod runs in which to look", cure)
    read = f"; cat {_IN_POD}/{here} 2>/dev/null || printf absent" if here else "; printf -"
    keep = "" if here else f"; rm -f {_IN_POD}/{there}"
    script = (
        f"printf {mark} > {_IN_POD}/{there} && printf 'wrote ' || printf 'refused '{read}{keep}"
    )
    try:
        said = run(api, pod, script).split()
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        reason = str(getattr(error, "reason", None) or type(error).__name__)
        reason = reason.partition(" -+-+-")[0]  # what follows is the whole answer
        cure = f"Type `kubectl exec -n {api.namespace} {pod} -- ls /bd-fs-mnt/project_repo`."
        return advice("In pods", expected, f"{pod} cannot be asked: {reason}", cure)
    wrote, content = [*said, "nothing", "nothing"][:2]
    if wrote != "wrote":
        return missing(
            "In pods",
            expected,
            f"{pod} may not write to /bd-fs-mnt/project_repo, or it is not there",
            "Kubernetes 1.36 and newer: add deploy/kubernetes/repository; else see its README. "
            "On NFS, look at root_squash: engines write as root.",
        )
    if here and content != mark:
        return _differs(expected, f"{pod} does not see what was written to {folder}")
    if here and _read(folder / there) != mark:
        return _differs(expected, f"{folder} does not show what {pod} wrote")
    both = "both ways" if here else "it writes; whether this machine sees it, cannot be shown"
    return ok("In pods", expected, f"{pod}: {both}")


def _differs(expected: str, found: str) -> Finding:
    cure = (
        "PROJECT_REPO and the pods' claim project-repo are two different folders: bind both to the "
        "same export, as deploy/kubernetes/site-example/volumes.yaml does."
    )
    return missing("In pods", expected, found, cure)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        return str(error.strerror)


def _running_pod(api: Api) -> str | None:
    selector = f"kubedirector.hpe.com/kdcluster={SHARED}"
    _, body = api.get(
        api.core("pods"), labelSelector=selector, fieldSelector="status.phase=Running"
    )
    return next((str(item["metadata"]["name"]) for item in body.get("items") or []), None)


def run(api: Api, pod: str, script: str) -> str:
    """Run a line of shell in a pod and return what it printed."""
    configuration = client.Configuration()
    configuration.host = api.server
    configuration.ssl_ca_cert = str(api.http.verify)
    if isinstance(api.http.cert, tuple):
        configuration.cert_file, configuration.key_file = api.http.cert
    if token := api.http.headers.get("Authorization"):
        configuration.api_key["authorization"] = str(token)
    with client.ApiClient(configuration) as connection:
        shell = stream(
            client.CoreV1Api(connection).connect_get_namespaced_pod_exec,
            pod,
            api.namespace,
            command=["sh", "-c", script],
            stdout=True,
            stderr=False,
            stdin=False,
            tty=False,
            _preload_content=False,
            _request_timeout=SECONDS,
        )
        try:
            shell.run_forever(timeout=SECONDS)
            return str(shell.read_all())
        finally:
            shell.close()
            shell.sock.shutdown()  # close() leaves it open when the server said good-bye first
