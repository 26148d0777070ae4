"""Guesses the unrecorded preparation of an area from what its answers reveal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.golden.recording import Area, Exchange
from tests.golden.setup import Call, Plan, Step, account, namespace

NAMESPACE = re.compile(r"^/(?:api/v1|apis/[^/]+/[^/]+)/namespaces/([^/]+)")
STANDARD = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVER_SET = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
NO_ACCOUNT = 'serviceaccount "default" not found'
ENACT_AFTER = 0.2


def infer_plan(area: Area) -> Plan:
    """Make a plan for an area nobody described: namespaces, objects that must exist, writes."""
    start: list[Step] = []
    before: dict[str, tuple[Step, ...]] = {}
    for name, exchange in _namespaces(area):
        start.append(namespace(name))
        late = _first_pod_after_missing_account(area, name)
        if late is not None:
            before[late] = (account(name),)
        else:
            start.append(account(name))
        del exchange
    known: set[str] = set()
    for exchange in area.exchanges:
        missing = [] if exchange.stream else list(_missing(exchange, known))
        if missing:
            before[exchange.key] = (*before.get(exchange.key, ()), *missing)
        _remember(exchange, known)
    during = {
        exchange.key: tuple(_enact(exchange, known))
        for exchange in area.exchanges
        if exchange.stream
    }
    return Plan(tuple(start), before, {key: steps for key, steps in during.items() if steps})


def _namespaces(area: Area) -> Iterator[tuple[str, Exchange]]:
    """Namespaces the area uses and does not create itself."""
    created: set[str] = set()
    given: set[str] = set()
    for exchange in area.exchanges:
        if exchange.path == "/api/v1/namespaces" and exchange.method == "POST":
            body = exchange.answer if isinstance(exchange.answer, dict) else {}
            created.add((body.get("metadata") or {}).get("name", ""))
        match = NAMESPACE.match(exchange.path)
        if match is None:
            continue
        name = match.group(1)
        if name in created or name in given or name in STANDARD or name == "none":
            continue
        if f'namespaces "{name}" not found' in str(exchange.answer):
            continue
        given.add(name)
        yield name, exchange


def _first_pod_after_missing_account(area: Area, name: str) -> str | None:
    """The exchange before which the default account appeared, when a pod was refused before."""
    refused = False
    for exchange in area.exchanges:
        if exchange.method != "POST" or exchange.path != f"/api/v1/namespaces/{name}/pods":
            continue
        if NO_ACCOUNT in str(exchange.answer):
            refused = True
        elif refused:
            return exchange.key
    return None


def _missing(exchange: Exchange, known: set[str]) -> Iterator[Step]:
    """Objects an exchange finds although no earlier exchange made them."""
    answer = exchange.answer
    if exchange.status != 200 or not isinstance(answer, dict):
        return
    if exchange.method == "GET" and isinstance(answer.get("items"), list):
        kind = str(answer.get("kind", "")).removesuffix("List")
        if "__note__" in answer or kind == "PartialObjectMetadata":
            return
        for item in answer["items"]:
            document = {"apiVersion": answer.get("apiVersion"), "kind": kind, **item}
            yield from _create(_item_path(exchange.path, item), document, known)
    elif answer.get("metadata", {}).get("name") and exchange.method in ("GET", "PATCH", "PUT"):
        if answer.get("kind") in ("Scale", "Status", "Table", "PartialObjectMetadata"):
            return
        path = exchange.path.removesuffix("/status")
        if path.rsplit("/", 1)[-1] == answer["metadata"]["name"]:
            yield from _create(path, answer, known)


def _create(path: str, document: dict[str, Any], known: set[str]) -> Iterator[Step]:
    if path in known or _is_builtin(path):
        return
    known.add(path)
    yield Call("POST", path.rsplit("/", 1)[0], _plain(document))


def _is_builtin(path: str) -> bool:
    match = NAMESPACE.match(path)
    if match is None:
        return True
    return match.group(1) in STANDARD or path.count("/") < 5


def _item_path(collection: str, item: dict[str, Any]) -> str:
    metadata = item.get("metadata") or {}
    match = NAMESPACE.match(collection)
    if match is None and metadata.get("namespace"):
        head, _, resource = collection.rpartition("/")
        collection = f"{head}/namespaces/{metadata['namespace']}/{resource}"
    return f"{collection}/{metadata.get('name')}"


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what the server sets."""
    metadata = {k: v for k, v in (document.get("metadata") or {}).items() if k not in SERVER_SET}
    return {**{k: v for k, v in document.items() if k != "status"}, "metadata": metadata}


def _remember(exchange: Exchange, known: set[str]) -> None:
    answer = exchange.answer if isinstance(exchange.answer, dict) else {}
    name = (answer.get("metadata") or {}).get("name")
    if exchange.method == "POST" and exchange.status == 201 and name:
        known.add(f"{exchange.path}/{name}")
    if exchange.method == "PATCH" and exchange.status == 201:
        known.add(exchange.path)


def _enact(exchange: Exchange, known: set[str]) -> Iterator[Step]:
    """Writes that make the events a watch saw some time after it was opened."""
    events = exchange.answer if isinstance(exchange.answer, list) else []
    for event, offset in zip(events, exchange.offsets, strict=False):
        if offset < ENACT_AFTER or not isinstance(event, dict):
            continue
        document = event.get("object") or {}
        if not document.get("metadata", {}).get("name") or document.get("kind") == "Table":
            continue
        path = _item_path(exchange.path, document)
        if event.get("type") == "ADDED":
            known.add(path)
            yield Call("POST", path.rsplit("/", 1)[0], _plain(document))
        elif event.get("type") == "MODIFIED":
            yield Call("PUT", path, _plain(document))
        elif event.get("type") == "DELETED":
            yield Call("DELETE", path)
