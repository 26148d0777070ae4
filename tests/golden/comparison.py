"""Compares two answers after masking what may differ between two runs of the same server."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.golden.mapping import JWT, SUFFIX, UID, Mapping

Difference = tuple[str, Any, Any]
ABSENT = "<absent>"
PRESENCE = ("resourceVersion", "continue", "nodePort", "healthCheckNodePort")
HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Location",
    "Retry-After",
    "Sec-Websocket-Protocol",
    "Vary",
    "Warning",
    "Www-Authenticate",
    "X-Content-Type-Options",
)
AGES = ("Age", "Created At", "First Seen", "Last Seen", "Duration")
AGE = re.compile(r"\d+[smhdy](\d+[smhd])?")
IGNORED = ("event_offsets_s", "elapsed_s", "__length__", "__note__")
# Certificates, key material and sizes that depend on them.
OWN = ("caBundle", "ca.crt", "kid", "n", "Content-Length")
STAMP = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
MASKS = (
    (JWT, "<jwt>"),
    (UID, "<uid>"),
    (re.compile(r"<uid:\d+>"), "<uid>"),
    (STAMP, "<ts>"),
    (re.compile(r"hash=[0-9A-F]{20,}"), "hash=<hash>"),
    (re.compile(r"0xc[0-9a-f]{6,12}"), "0x<ptr>"),
    (re.compile(r"\b10\.96\.\d+\.\d+"), "<clusterIP>"),
    (re.compile(r":3[0-2]\d{3}/"), "<:nodePort>/"),
    (re.compile(r"Too large resource version: \S+ current: \S+"), "Too large: <n>, <m>"),
    (re.compile(r"too old resource version: \S+ \([^)]+\)"), "too old: <n> (<m>)"),
    (re.compile(r"(ResourceVersion in (?:the precondition|record) \()[^),]+"), r"\1<rv>"),
    (re.compile(r'(\\?"resourceVersion\\?":\\?")(\d+|<rv:\d+>)'), r"\1<rv>"),
    (re.compile(r'(resourceVersion: \\?"?)(\d+|<rv:\d+>)'), r"\1<rv>"),
    (re.compile(r"\.[0-9a-f]{16}\b"), ".<hex>"),
    (re.compile(r"10\.244\.\d+\.\d+"), "<podIP>"),
    (re.compile(r"kube-api-access-(" + SUFFIX + r"|<rand:\d+>)"), "kube-api-access-<rand>"),
    (re.compile(r"<rand:\d+>"), "<rand>"),
    (re.compile(r"<continue:\d+>"), "<continue>"),
)

CONTAINER_ID = re.compile(r"(fake://)\S+-(\d)$")


@dataclass
class Comparison:
    """Masks and compares; remembers which object versions stand for each other."""

    mapping: Mapping
    with_managers: bool = True
    """Compare managedFields too; controllers and kubelets have other names here and there."""
    seen: dict[str, str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)
    stems: set[str] = field(default_factory=set)

    def compare(self, recorded: Any, live: Any) -> list[Difference]:
        """List every difference between two bodies."""
        self.mapping.learn(recorded, live)
        return self._walk(self._tidy(recorded), self._tidy(live), "")

    def compare_headers(self, recorded: dict[str, str], live: dict[str, str]) -> list[Difference]:
        """List the differences in the headers a client may act on."""
        found: list[Difference] = []
        right = {name.title(): value for name, value in live.items()}
        left = {name.title(): value for name, value in recorded.items()}
        for name in HEADERS:
            want, have = left.get(name, ABSENT), right.get(name, ABSENT)
            if self._mask(str(want), True) != self._mask(str(have), False):
                found.append((f"header {name}", want, have))
        if ("Etag" in left) != ("Etag" in right):
            found.append(("header Etag", left.get("Etag", ABSENT), right.get("Etag", ABSENT)))
        return found

    def _mask(self, text: str, is_recorded: bool) -> str:
        # First: its random digits may end as the name of a pod does, `…db-0`.
        text = CONTAINER_ID.sub(r"\1<id>-\2", text)
        names = self.mapping.names if is_recorded else {v: v for v in self.mapping.names.values()}
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, f"{name[:-5]}<rand>")
        if not is_recorded:
            for host, own in self.mapping.hosts.items():
                text = text.replace(own, host)
        for stem in self.stems:
            text = re.sub(re.escape(stem[:58]) + SUFFIX + "(?![a-z0-9])", f"{stem}<rand>", text)
        hashes = self.mapping.hashes if is_recorded else self.mapping.hashes.values()
        for known in hashes:
            text = text.replace(known, "<hash>")
        for pattern, replacement in MASKS:
            text = pattern.sub(replacement, text)
        return text

    def _tidy(self, value: Any) -> Any:
        """Drop what is never compared and mask ages in tables."""
        if isinstance(value, list):
            return [self._tidy(item) for item in value]
        if not isinstance(value, dict):
            return value
        tidy = {key: self._tidy(item) for key, item in value.items() if key not in IGNORED}
        if not self.with_managers:
            tidy.pop("managedFields", None)
        if isinstance(tidy.get("managedFields"), list):
            tidy["managedFields"] = _untimed(tidy["managedFields"])
        if tidy.get("kind") == "Table" and isinstance(tidy.get("rows"), list):
            _mask_ages(tidy)
        return tidy

    def _walk(self, recorded: Any, live: Any, path: str) -> list[Difference]:
        if isinstance(recorded, dict) and isinstance(live, dict):
            return self._walk_object(recorded, live, path)
        if isinstance(recorded, list) and isinstance(live, list):
            if len(recorded) != len(live):
                return [(f"{path}/(length)", recorded, live)]
            found: list[Difference] = []
            for index, pair in enumerate(zip(recorded, live, strict=True)):
                found += self._walk(*pair, f"{path}/{index}")
            return found
        if type(recorded) is not type(live):
            return [(path, recorded, live)]
        if isinstance(recorded, str):
            return self._walk_text(recorded, live, path)
        return [] if recorded == live else [(path, recorded, live)]

    def _walk_object(
        self, recorded: dict[str, Any], live: dict[str, Any], path: str
    ) -> list[Difference]:
        found: list[Difference] = []
        for key in sorted(recorded.keys() | live.keys()):
            here = f"{path}/{key}"
            if key not in recorded or key not in live:
                found.append((here, recorded.get(key, ABSENT), live.get(key, ABSENT)))
            elif key == "resourceVersion" and "uid" in recorded:
                found += self._versions(recorded[key], live[key], here)
            elif key in PRESENCE or (key in OWN and isinstance(recorded[key], str)):
                if bool(recorded[key]) != bool(live[key]):
                    found.append((here, recorded[key], live[key]))
            else:
                found += self._walk(recorded[key], live[key], here)
        return found

    def _versions(self, recorded: Any, live: Any, path: str) -> list[Difference]:
        """Two objects with one recorded resourceVersion must have one live one, and back."""
        if not isinstance(recorded, str) or not isinstance(live, str):
            return [(path, recorded, live)]
        if self.seen.setdefault(recorded, live) != live:
            return [(path, "as before", f"changed to {live}")]
        if self.back.setdefault(live, recorded) != recorded:
            return [(path, "a new one", f"still {live}")]
        return []

    def _walk_text(self, recorded: str, live: str, path: str) -> list[Difference]:
        if UID.fullmatch(recorded) and UID.fullmatch(live):
            if self.mapping.values.setdefault(recorded, live) != live:
                return [(path, "the uid seen before", live)]
            return []
        if path.endswith("/__base64_head__"):
            return []
        left, right = self._mask(recorded, True), self._mask(live, False)
        return [] if left == right else [(path, left, right)]


def _untimed(entries: list[Any]) -> list[Any]:
    """Managers without their times, which also decide the order they come in."""
    if not all(isinstance(entry, dict) for entry in entries):
        return entries
    found = [{**entry, "time": "<ts>"} if entry.get("time") else entry for entry in entries]
    names = ("manager", "operation", "apiVersion", "subresource")
    return sorted(
        map(_without_uids, found), key=lambda entry: [str(entry.get(name)) for name in names]
    )


def _without_uids(value: Any) -> Any:
    """Owners are keys of managed fields, told apart by their uids."""
    if not isinstance(value, dict):
        return value
    return {UID.sub("<uid>", key): _without_uids(item) for key, item in value.items()}


def _mask_ages(table: dict[str, Any]) -> None:
    columns = [column.get("name") for column in table.get("columnDefinitions") or []]
    for row in table["rows"]:
        cells = row.get("cells") or []
        if not columns:  # a watch names the columns only once
            cells[:] = ["<age>" if AGE.fullmatch(str(cell)) else cell for cell in cells]
        for index, name in enumerate(columns):
            if name in AGES and index < len(cells) and cells[index] is not None:
                cells[index] = "<age>"


def is_unstable(path: str, unstable: tuple[str, ...]) -> bool:
    """Tell whether two recordings of the real server disagreed at this path."""
    if "(status)" in unstable:
        return True
    plain = re.sub(r"/\d+(?=/|$)", "/#", path)
    if path.endswith("/metadata/resourceVersion"):
        # Where two recordings did not agree on the object, its version says nothing either.
        parent = path.removesuffix("/resourceVersion")
        if f"{parent}/uid" in unstable or f"{parent}/name" in unstable:
            return True
    truncated = any(known.startswith("... ") for known in unstable)
    for known in unstable:
        if known.endswith("/(length)") and path.startswith(known.removesuffix("(length)")):
            # How many there are is a matter of timing, and so is what each of them says.
            return True
        if path == known or path.startswith(known + "/"):
            return True
        if truncated and re.sub(r"/\d+(?=/|$)", "/#", known) == plain:
            return True
    return False


def shorten(value: Any, limit: int = 160) -> str:
    """Show a value on one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
