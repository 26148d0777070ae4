"""The kubeconfig: can a client use it, and does the cluster answer?"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from labclass.checkup.api import Api
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.visit import Visit

OLDEST, NEWEST = (1, 30), (1, 37)
"""Kubernetes versions that deploy/kubernetes is validated for."""
_PLUGIN_SECONDS = 30


def fetched(visit: Visit) -> Iterator[Finding]:
    """Fetch the kubeconfig and look whether this machine can use it."""
    expected = "a kubeconfig whose current context names a namespace"
    answer = visit.call("GET", "/api/v2/k8skubeconfig")
    if answer.status_code != 200:
        yield missing(
            "Kubeconfig",
            expected,
            f"{answer.status_code} {answer.reason}",
            "Is the tenant one of Kubernetes, and has it access to the API switched on?",
        )
        return
    document = yaml.safe_load(answer.text)
    context = _named(document, "contexts", document["current-context"])["context"]
    if not context.get("namespace"):
        cure = "Ask why the tenant has no namespace; the labs build in one."
        yield missing("Kubeconfig", expected, f"{document['current-context']} without one", cure)
        return
    cluster = _named(document, "clusters", context["cluster"])["cluster"]
    user = _named(document, "users", context["user"])["user"]
    yield ok("Kubeconfig", expected, f"{document['current-context']}: {context['namespace']}")
    yield from _connect(visit, cluster, user, context["namespace"])


def _named(document: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(dict(entry) for entry in document[kind] if entry["name"] == name)


def _connect(
    visit: Visit, cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str
) -> Iterator[Finding]:
    http = requests.Session()
    http.trust_env = False
    if cluster.get("certificate-authority-data"):
        http.verify = _file(visit, "kubernetes-ca.crt", cluster["certificate-authority-data"])
    else:
        http.verify = visit.value("EZMERAL_CA")
    expected = "a way to prove who we are: a plugin on this machine, or a token"
    problem = _identify(visit, user, http)
    if problem is not None:
        yield missing("Credential", expected, *problem)
        return
    kind = "plugin" if "exec" in user else "token" if "token" in user else "certificate"
    yield ok("Credential", expected, f"a {kind} that works without a question")
    visit.cleanups.callback(http.close)
    visit.api = Api(str(cluster["server"]).rstrip("/"), http, namespace)
    visit.reached.add("kubeconfig")


def _file(visit: Visit, name: str, data: str) -> str:
    path = visit.folder() / name
    with open(path, "wb", opener=lambda place, flags: os.open(place, flags, 0o600)) as out:
        out.write(base64.b64decode(data))
    return str(path)


def _identify(
    visit: Visit, user: Mapping[str, Any], http: requests.Session
) -> tuple[str, str] | None:
    """Give the connection the user's credential; return what is wrong and its cure, or None."""
    if "exec" in user:
        told, problem = _run(user["exec"])
        if problem is not None:
            return problem
        user = {
            "token": told.get("token"),
            "client-certificate-data": _encoded(told.get("clientCertificateData")),
            "client-key-data": _encoded(told.get("clientKeyData")),
        }
    if user.get("token"):
        visit.secrets.add(str(user["token"]))
        http.headers["Authorization"] = f"Bearer {user['token']}"
        return None
    if user.get("client-certificate-data") and user.get("client-key-data"):
        pair = (("tls.crt", "client-certificate-data"), ("tls.key", "client-key-data"))
        certificate, key = (_file(visit, name, str(user[data])) for name, data in pair)
        http.cert = (certificate, key)
        return None
    return f"none of them, but {sorted(user)}", "Ask who runs the platform how clients sign in."


def _encoded(text: str | None) -> str:
    return base64.b64encode(text.encode()).decode() if text else ""


def _run(plugin: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Ask a credential plugin, which must not ask us: nobody could answer in a notebook."""
    words = [str(plugin["command"]), *map(str, plugin.get("args") or [])]
    needed = [words[0]]
    if Path(words[0]).name == "kubectl" and len(words) > 1:
        needed.append(f"kubectl-{words[1]}")
    absent = [name for name in needed if shutil.which(name) is None]
    if absent:
        cure = (
            f"Put {absent[0]} into the PATH of the learners' machine; your platform's download "
            "page has it. Without it every Kubernetes client fails."
        )
        return {}, (f"no program {absent[0]}", cure)
    api_version = str(plugin.get("apiVersion", "client.authentication.k8s.io/v1"))
    info = {"apiVersion": api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = {entry["name"]: entry["value"] for entry in plugin.get("env") or []}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PLUGIN_SECONDS,
            env=os.environ | {"KUBERNETES_EXEC_INFO": json.dumps(info)} | told,
            check=False,
        )
    except subprocess.TimeoutExpired:
        cure = "It waits for a password; a notebook would hang. Ask for a newer plugin."
        return {}, (f"{needed[-1]} said nothing for {_PLUGIN_SECONDS} s", cure)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return {}, (f"{needed[-1]} failed: {last}", "Run this again; a session may have ended.")
    return dict(json.loads(done.stdout).get("status") or {}), None


def version(visit: Visit) -> Iterator[Finding]:
    """Look whether the cluster answers, and which Kubernetes it is."""
    api = visit.require_api()
    tried = f"Kubernetes {_text(OLDEST)} to {_text(NEWEST)}"
    status, body = api.get("/version")
    told = re.match(r"v?(\d+)\.(\d+)", str(body.get("gitVersion", "")))
    if status != 200 or told is None:
        cure = f"Type `kubectl get --raw /version`; {api.server} should answer."
        yield missing("Kubernetes", tried, f"{status} from {api.server}", cure)
        return
    visit.reached.add("cluster")
    found = (int(told[1]), int(told[2]))
    words = f"{body['gitVersion']} at {api.server}"
    if OLDEST <= found <= NEWEST:
        yield ok("Kubernetes", tried, words)
    elif found < OLDEST:
        cure = "deploy/kubernetes may be refused there; ask for a newer cluster."
        yield missing("Kubernetes", tried, words, cure)
    else:
        cure = "Nobody has tried the labs there yet. Run one replay before the class."
        yield advice("Kubernetes", tried, words, cure)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
