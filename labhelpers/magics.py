"""The magics of the training clusters: `%attachments`, `%%<cluster>`, `%logs --url`.

`%load_ext labhelpers.magics` in any Jupyter that reaches the cluster: they need a kubeconfig
(KUBECONFIG) and nothing of the notebook's pod. Names of cell magics are kdcluster names without
their dashes. A cell is shipped as it stands and runs on the training cluster, not here:

    %%trainingengineshared --name rides --memory 2Gi --include train.py -- --depth 6 --seed 0

What follows `--` are the program's arguments; `--include` puts a file's text before the cell, so
that the job's record holds the whole program. IPython fills in `{names}` of the notebook.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from IPython.core.error import UsageError

from labhelpers.environment import password
from labhelpers.errors import LabError
from labkube import kubeconfig
from labkube.errors import KubeError
from labkube.service import addresses, token_of

__all__ = ["Engine", "TrainingUnreachable", "load_ipython_extension"]

GROUP, VERSION = "kubedirector.hpe.com", "v1beta1"
TRAIN, HISTORY = 32700, 10001
_passwords: dict[str, str] = {}


class TrainingUnreachable(LabError):
    """A training cluster cannot be found or does not answer; the text says what to look at."""


@dataclass(frozen=True)
class Engine:
    """A training cluster: its kdcluster, its magic, what it runs."""

    name: str
    kind: str

    @property
    def magic(self) -> str:
        return self.name.replace("-", "")


class Cluster:
    """What the magics ask the Kubernetes API."""

    def __init__(self) -> None:
        # The client takes seconds to import: a kernel that never uses a magic does not wait.
        from kubernetes import client

        from labkube.connection import Connection

        path = kubeconfig.locate()
        if not path.is_file():
            raise TrainingUnreachable(
                f"Expected a kubeconfig at {path}, found none. Sign in first (lab core-01)."
            )
        self.context = kubeconfig.read(path)
        self.namespace = self.context.namespace
        api = Connection(path)
        self.core: Any = client.CoreV1Api(api)
        self.custom: Any = client.CustomObjectsApi(api)

    def engines(self) -> list[Engine]:
        """List the connected training clusters; all of the namespace outside of a notebook pod."""
        apps = {a["metadata"]["name"]: a for a in self._list("kubedirectorapps")}
        clusters = self._list("kubedirectorclusters")
        mine = os.environ.get("NOTEBOOK_KDCLUSTER", "")
        own = [c for c in clusters if c["metadata"]["name"] == mine]
        connected = (own[0]["spec"].get("connections") or {}).get("clusters") if own else None
        found = []
        for cluster in clusters:
            name = cluster["metadata"]["name"]
            app = apps.get(cluster["spec"]["app"])
            meta = (app["spec"]["config"].get("configMeta") or {}) if app else {}
            if meta.get("ml_engine") and (connected is None or name in connected):
                found.append(Engine(name, meta["ml_engine"]))
        return sorted(found, key=lambda engine: engine.name)

    def services(self, selector: str) -> list[tuple[Any, dict[str, str]]]:
        """List services, each with its annotations."""
        found = self.core.list_namespaced_service(self.namespace, label_selector=selector).items
        return [(service, service.metadata.annotations or {}) for service in found]

    def _list(self, plural: str) -> list[dict[str, Any]]:
        found = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.namespace, plural)
        items: list[dict[str, Any]] = found["items"]
        return items

    @cached_property
    def authority(self) -> str | bool:
        """Return the CA file of the gateway: GATEWAY_CA, EZMERAL_CA, else the kubeconfig's."""
        for name in ("GATEWAY_CA", "EZMERAL_CA"):
            if os.environ.get(name):
                return os.environ[name]
        if not self.context.authority:
            return True
        with tempfile.NamedTemporaryFile("w", suffix=".crt", delete=False) as file:
            file.write(self.context.authority)
        return file.name


class Magics:
    """The functions behind the magics of one IPython."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster()
        return self._cluster

    def attachments(self, line: str = "") -> None:
        """Show the connected training clusters, and make their cell magics known."""
        self._cluster = None  # a new sign-in may have written a new kubeconfig
        engines = self.cluster.engines()
        rows = [("Training Cluster", "ML Engine"), *((e.magic, e.kind) for e in engines)]
        width = max(len(name) for name, _ in rows)
        print("\n".join(f"{name:<{width}}  {kind}" for name, kind in rows))
        self.register([engine.name for engine in engines])

    def register(self, names: list[str]) -> None:
        """Make `%%<name without dashes>` known for each cluster."""
        for name in names:

            def ship(line: str, cell: str, name: str = name) -> None:
                self.submit(name, line, cell)

            ship.__doc__ = f"Run this cell as a job on the training cluster {name}."
            self.shell.register_magic_function(ship, "cell", name.replace("-", ""))

    def submit(self, name: str, line: str, cell: str) -> None:
        """Ship a cell; print and keep the address of its history."""
        options = _parse(
            f"%%{name.replace('-', '')}",
            line,
            ("--name", {"default": "notebook cell"}),
            ("--memory", {}),
            ("--cpu", {"type": float}),
            ("--seconds", {"type": float}),
            ("--env", {"action": "append", "default": [], "metavar": "NAME=value"}),
            ("--rerun", {"action": "store_true"}),
            ("--include", {"action": "append", "default": [], "metavar": "FILE"}),
            ("args", {"nargs": "*", "metavar": "-- arguments"}),
        )
        env = dict(entry.partition("=")[::2] for entry in options.env)
        resources = {k: getattr(options, k) for k in ("memory", "cpu", "seconds")}
        user = _user(self.cluster)
        body = {
            "code": "\n".join([*map(_text_of, options.include), cell]),
            "args": options.args,
            "name": options.name,
            "user": user,
            "env": {"LAB_USER": user} | env,
            "rerun": options.rerun,
            "resources": {k: v for k, v in resources.items() if v is not None},
        }
        base, token = self._address(name, TRAIN)
        secret = _passwords.get(user) or password(user)
        reply = requests.post(
            f"{base}/train",
            json=body,
            headers={"X-Auth-Token": token},
            auth=(user, secret),
            verify=self.cluster.authority,
            timeout=30,
        )
        answer = _answer(reply)
        if reply.status_code != 201:
            _passwords.pop(user, None)
            status = f"HTTP/1.1 {reply.status_code} {reply.reason}"
            print(f"{status}\n{answer.get('error', '')}\nexpected: {answer.get('expected', '')}")
            return
        _passwords[user] = secret
        self.shell.user_ns["history_url_last"] = answer["history_url"]
        print(f"History URL: {answer['history_url']}")

    def logs(self, line: str) -> None:
        """Show a job: its status, what it printed, its log."""
        options = _parse(
            "%logs",
            line,
            ("--url", {"default": self.shell.user_ns.get("history_url_last", "")}),
            ("--follow", {"action": "store_true"}),
        )
        found = re.search(r"https?://[^\s'\"]+/history/\d+", str(options.url))
        if found is None:
            raise UsageError(f"Expected %logs --url <History URL>; found {options.url!r}.")
        base, path, token = self._history(found[0])
        if options.follow:
            self._follow(base + path, token)
            return
        found = self._get(f"{base}{path}", token)
        job = found[0] if isinstance(found, list) else found  # the engine lists one
        print(f"Job Status: {job['status']}")
        if job.get("reason"):
            print(job["reason"])
        print(job.get("output", ""), end="")
        log = self._get(f"{base}{urlsplit(job['log_url']).path}", token)
        text = log.get("logs", "") if isinstance(log, dict) else ""
        if text:
            print(text)

    def _follow(self, url: str, token: str) -> None:
        with self._ask(f"{url}/stream", token, stream=True, timeout=(10, 60)) as reply:
            for event in _lines(reply):
                if "text" in event:
                    print(event["text"], end="", flush=True)
                else:
                    print(f"\nJob Status: {event['status']}\n{event.get('reason', '')}".rstrip())

    def _address(self, name: str, port: int) -> tuple[str, str]:
        """Return where a training cluster listens, and its token."""
        selector = f"{GROUP}/kdcluster={name},{GROUP}/role=LoadBalancer"
        for service, notes in self.cluster.services(selector):
            if token := token_of(notes):
                host = f"{service.metadata.name}.{self.cluster.namespace}.svc.cluster.local"
                return addresses(notes).get(port, f"http://{host}:{port}"), token
        raise TrainingUnreachable(
            f"Expected a service with a token for the load balancer of {name}, found none. "
            f"Look at it: kubectl describe kdcluster {name}"
        )

    def _history(self, url: str) -> tuple[str, str, str]:
        """Return where a history URL is asked, its path, and the token for it.

        Asked through the gateway, when there is one. The token goes to its own engine only.
        """
        parts = urlsplit(url)
        pod = (parts.hostname or "").partition(".")[0]
        for service, notes in self.cluster.services(f"{GROUP}/role=LoadBalancer"):
            selected = service.spec.selector or {}
            if selected.get("statefulset.kubernetes.io/pod-name") == pod:
                base = addresses(notes).get(HISTORY, f"{parts.scheme}://{parts.netloc}")
                return base, parts.path, token_of(notes)
        return f"{parts.scheme}://{parts.netloc}", parts.path, ""

    def _get(self, url: str, token: str) -> Any:
        return _answer(self._ask(url, token, timeout=30))

    def _ask(self, url: str, token: str, **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": token} if token else {}
        try:
            reply = requests.get(url, headers=headers, verify=self.cluster.authority, **more)
        except requests.RequestException as error:
            raise TrainingUnreachable(
                f"Expected an answer from {url}, found: {error}. Is its kdcluster configured? "
                "kubectl get kdcluster"
            ) from error
        if reply.status_code != 200:
            text = f"HTTP/1.1 {reply.status_code} {reply.reason}"
            problem = _answer(reply)
            raise TrainingUnreachable(f"{text}: {problem.get('error', '')} ({url})")
        return reply


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage()}")


def _parse(name: str, line: str, *options: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    parser = _Parser(prog=name, add_help=False)
    for option, more in options:
        parser.add_argument(option, **more)
    return parser.parse_args(shlex.split(line))


def _text_of(file: str) -> str:
    """Return a program's text as it is now: the job runs this, whatever is written there later."""
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"Expected a Python program to include at {file}; found: {reason}. "
            "A name in braces stays as it is when the notebook does not know it."
        ) from error


def _answer(reply: requests.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return {"error": reply.text[:500]}


def _lines(reply: requests.Response) -> Iterator[dict[str, Any]]:
    # One byte at a time would be slow, a big chunk late: a line of the stream is one event.
    for line in reply.iter_lines(chunk_size=None):
        if line:
            yield json.loads(line)


def _user(cluster: Cluster) -> str:
    """Return who submits: EZMERAL_USER, the notebook's owner, else the kubeconfig's user."""
    named = os.environ.get("EZMERAL_USER") or os.environ.get("NOTEBOOK_OWNER")
    return named or (cluster.context.user or "learner").rpartition("-")[2]


def load_ipython_extension(shell: Any) -> None:
    """Make the magics known; what is connected is looked up once."""
    magics = Magics(shell)
    shell.register_magic_function(magics.attachments, "line", "attachments")
    shell.register_magic_function(magics.logs, "line", "logs")
    told = os.environ.get("TRAINING_CLUSTERS")
    if told is not None:  # a notebook pod's application knows them already
        magics.register([name for name in told.split(",") if name])
        return
    from kubernetes.client.exceptions import OpenApiException
    from urllib3.exceptions import HTTPError

    unknown = (LabError, KubeError, OpenApiException, HTTPError, OSError, LookupError, ValueError)
    try:
        magics.register([engine.name for engine in magics.cluster.engines()])
    except unknown as error:
        print(
            f"No training cluster is known yet ({type(error).__name__}). %attachments looks again."
        )
