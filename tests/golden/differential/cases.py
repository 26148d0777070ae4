"""Requests a real kube-apiserver v1.32 answered, each with its set-up: sent, masked, compared.

Every case stands alone: its object is removed, its set-up sent, then its request. Lists, tables and
watches were recorded on a server that also held objects of other cases; of those only the objects
of the case itself are compared.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.golden.wire import Wire

Json = dict[str, Any]
HERE = Path(__file__).parent
SHARED = Path(__file__).resolve().parents[4] / "shared" / "differential"
NAMESPACE = "/api/v1/namespaces/dz"
WIDGETS = "/apis/x.io/v1/namespaces/dz/widgets"
AGENT = "diff/1"
PLAIN, MERGE = "application/json", "application/merge-patch+json"
FIXED_PORTS = (30123, 30999)
STORAGE = (
    r"StorageError: invalid object, Code: 4, Key: [^,]+, ResourceVersion: 0, AdditionalErrorMsg: "
)
STAMP = r"20(2[5-9]|3\d)-\d\d-\d\d{}\d\d:\d\d:\d\d(\.\d+)?"
MASKS = [
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (STAMP.format("T") + r"(Z|[+-]\d\d:\d\d)", "<ts>"),
        (r"kube-api-access-\w{5}\b", "kube-api-access-<r>"),
        (r"ey[\w-]+\.[\w-]+\.[\w-]+", "<jwt>"),
        (r"10\.96\.\d+\.\d+", "<clusterip>"),
        (r"gen-[a-z0-9]{5}\b", "gen-<r>"),
        (r"(resourceVersion|resource version|current|in record)([\\\": (]+)\d+", r"\1\2<rv>"),
        (r"127\.0\.0\.1:\d+", "<host>"),
        (STORAGE, ""),
        (STAMP.format(" ") + r" \+0000 UTC( m=\+[\d.]+)?", "<gots>"),
        (r"0x[0-9a-f]{8,}", "<ptr>"),
    )
]
AGE = re.compile(r"\d+m?s?(\d+s)?|<unknown>|<invalid>")
NODE_PORT = re.compile(r"\b3[0-2]\d{3}\b(?=/TCP|/UDP)")


@dataclass(frozen=True)
class Case:
    """One request, what has to be there before it, and the real answer."""

    id: str
    setup: tuple[Json, ...]
    request: Json
    real: Json

    @property
    def names(self) -> set[str]:
        """The objects this case makes or asks for."""
        return {path.rsplit("/", 1)[1] for path in self.objects()}

    def objects(self) -> Iterator[str]:
        """The paths of the objects the case makes or touches."""
        for step in (*self.setup, self.request):
            path, body = urlsplit(step["path"]).path, step.get("body")
            if step["method"] == "POST" and isinstance(body, dict):
                metadata = body.get("metadata")
                name = metadata.get("name") if isinstance(metadata, dict) else None
                if name and path.count("/") < 8:
                    yield f"{path}/{name}"
            elif step["method"] in ("PUT", "PATCH", "DELETE"):
                yield re.sub("/(status|scale)$", "", path)


def read_cases(folder: Path = HERE) -> list[Case]:
    """All cases of a folder, in the order they were recorded."""
    rows = json.loads((folder / "cases.json").read_text())["cases"]
    return [
        Case(row["id"], tuple(row["setup"]), row["request"], masked(row["real"])) for row in rows
    ]


def read_known() -> dict[str, str]:
    """Why a case is known to differ, by its name."""
    entries = tomllib.loads((HERE / "known.toml").read_text())["case"]
    return {entry["id"]: entry["reason"] for entry in entries}


class Client:
    """Sends the requests of cases to one server."""

    def __init__(self, url: str, ca: str, token: str) -> None:
        self._wire = Wire(url, ca)
        self._head = {"Authorization": f"Bearer {token}", "User-Agent": AGENT}

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def call(
        self, method: str, path: str, body: Any = None, kind: str = "", accept: str = ""
    ) -> Json:
        """Send one request; the answer's status, content type, warnings and body."""
        head = {**self._head, "Accept": accept or PLAIN}
        data = None
        if body is not None:
            head["Content-Type"] = kind or PLAIN
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
        where, _, query = path.partition("?")
        answer = self._wire.send(method, where, query, head, data)
        warnings = answer.headers.get("Warning", "")
        return {
            "status": answer.status,
            "ctype": answer.headers.get("Content-Type"),
            "warning": re.findall(r'299 - "(?:[^"\\]|\\.)*"', warnings),
            "body": _read(answer.raw),
        }

    def prepare(self, folder: Path = HERE) -> None:
        """Make the namespace, its account and the custom kind the cases use."""
        self.call("POST", "/api/v1/namespaces", _named("Namespace", "dz"))
        self.call("POST", f"{NAMESPACE}/serviceaccounts", _named("ServiceAccount", "default"))
        definition = json.loads((folder / "widgets-crd.json").read_text())
        group = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.call("POST", group, definition)
        for _ in range(200):
            if self.call("GET", WIDGETS)["status"] == 200:
                return
        raise AssertionError(f"expected {WIDGETS} to be served after its definition, found 404")

    def answer(self, case: Case) -> Json:
        """The masked answer to a case."""
        for path in sorted(set(case.objects())):
            self._remove(path)
        for step in case.setup:
            self.call(step["method"], step["path"], step["body"])
        ask = case.request
        body = self._with_version(ask["path"], ask["body"])
        found = self.call(
            ask["method"], ask["path"], body, ask["contentType"] or "", ask["accept"] or ""
        )
        return dict(masked(found))

    def _with_version(self, path: str, body: Any) -> Any:
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict) or metadata.get("resourceVersion") != "$RV":
            return body
        there = self.call("GET", urlsplit(path).path)["body"]
        version = (there.get("metadata") or {}).get("resourceVersion", "")
        return {**body, "metadata": {**metadata, "resourceVersion": version}}

    def _remove(self, path: str) -> None:
        if self.call("GET", path)["status"] != 200:
            return
        free = {"metadata": {"finalizers": None}}
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Background",
        }
        self.call("PATCH", path, free, MERGE)
        self.call("DELETE", f"{path}?gracePeriodSeconds=0", options)
        self.call("PATCH", path, free, MERGE)


def _named(kind: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _read(raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return text


def masked(value: Any, key: str = "") -> Any:
    """Replace what differs between two runs of one server."""
    if isinstance(value, dict):
        return {name: masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, key if key == "cells" else "") for item in value]
    if key == "resourceVersion" and isinstance(value, str) and value.isdigit():
        return "<rv>"
    if key == "continue" and value:
        return "<continue>"
    if key in ("nodePort", "healthCheckNodePort") and isinstance(value, int):
        return "<nodeport>" if 30000 <= value < 32768 and value not in FIXED_PORTS else value
    if key == "time":
        return "<time>"
    if not isinstance(value, str):
        return value
    for pattern, mask in MASKS:
        value = pattern.sub(mask, value)
    if key == "cells" and AGE.fullmatch(value):
        value = "<age>"
    return NODE_PORT.sub("<nodeport>", value)


def own_part(answer: Json, names: set[str]) -> Json:
    """The answer without objects of other cases in a list, a table or a watch."""
    body = answer["body"]
    if isinstance(body, dict) and "type" in body and "object" in body:
        body = [body]  # one event reads like one object
    if isinstance(body, list):
        body = [row for row in body if _is_own(row.get("object") or {}, names)]
    elif isinstance(body, dict):
        for rows, inner in (("items", None), ("rows", "object")):
            if isinstance(body.get(rows), list):
                kept = [row for row in body[rows] if _is_own(row[inner] if inner else row, names)]
                body = {**body, rows: kept}
    return {**answer, "body": body}


def _is_own(obj: Json, names: set[str]) -> bool:
    name = (obj.get("metadata") or {}).get("name")
    return name is None or name in names


def differences(real: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Every place where two masked answers differ."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in sorted({*real, *ours}, key=str):
            there, here = real.get(key, "<absent>"), ours.get(key, "<absent>")
            yield from differences(there, here, f"{path}/{key}")
    elif isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        for at, (one, other) in enumerate(zip(real, ours, strict=True)):
            yield from differences(one, other, f"{path}/{at}")
    elif real != ours:
        shown = (json.dumps(value, ensure_ascii=False)[:300] for value in (real, ours))
        yield "{}: real {}, ours {}".format(path, *shown)
