"""Learns which live value stands for which recorded one (uid, resourceVersion, token, name…)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
SERVICE_ADDRESS = re.compile(r"\b10\.96\.\d+\.\d+\b")
PLAIN = (UID, SERVICE_ADDRESS)
PLACEHOLDER = re.compile(
    r"<(?:uid|rv|rand|continue):\d+>|<jwt>|<clusterIP>|<nodePort>|<ts>|<podIP>"
)
SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]{5}"
VERSION_FAR = 5000
# Small numbers were typed by hand to mean "long ago".
VERSION_LITERAL = 10
HASH = re.compile(r"hash=([0-9A-F]{20,})")


@dataclass
class Mapping:
    """Recorded value -> live value, filled while answers are compared."""

    values: dict[str, str] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)
    token: str = ""
    hosts: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    def learn(self, recorded: Any, live: Any) -> None:
        """Walk two answers side by side and remember what stands for what."""
        if isinstance(recorded, dict) and isinstance(live, dict):
            self._learn_name(recorded, live)
            for key in recorded.keys() & live.keys():
                self._learn_leaf(key, recorded[key], live[key])
        elif isinstance(recorded, list) and isinstance(live, list):
            for left, right in zip(recorded, live, strict=False):
                self.learn(left, right)

    def _learn_name(self, recorded: dict[str, Any], live: dict[str, Any]) -> None:
        stem = recorded.get("generateName")
        left, right = recorded.get("name"), live.get("name")
        if not stem or not isinstance(left, str) or not isinstance(right, str) or left == stem:
            return
        own = str(live.get("generateName") or "")
        if left.startswith(stem[:58]) and own and right.startswith(own[:58]):
            self.names[left] = right

    def _learn_leaf(self, key: str, recorded: Any, live: Any) -> None:
        if isinstance(recorded, dict | list):
            self.learn(recorded, live)
            return
        if key in ("nodePort", "healthCheckNodePort") and isinstance(live, int):
            if isinstance(recorded, int):
                self.ports[recorded] = live
            return
        if not isinstance(recorded, str) or not isinstance(live, str):
            return
        if key == "pod-template-hash" and recorded != live:
            self.hashes[recorded] = live
        for left, right in zip(HASH.findall(recorded), HASH.findall(live), strict=False):
            self.values[left] = right
        if recorded == "<jwt>" or (key == "token" and JWT.fullmatch(live)):
            self.token = live
            self.values["<jwt>"] = live
        elif key == "resourceVersion":
            if recorded.isdigit() and live.isdigit():
                self.versions[int(recorded)] = int(live)
            elif recorded.startswith("<rv:"):
                self.values[recorded] = live
        elif key == "continue" or recorded == live or PLACEHOLDER.fullmatch(recorded):
            if recorded and recorded != live:
                self.values[recorded] = live
        elif any(kind.fullmatch(recorded) and kind.fullmatch(live) for kind in PLAIN):
            self.values[recorded] = live

    def live_version(self, recorded: int, current: int | None) -> int:
        """Translate a resourceVersion that may come from a request nobody recorded."""
        if recorded in self.versions:
            return self.versions[recorded]
        if recorded <= VERSION_LITERAL:
            return recorded
        if not self.versions:
            return recorded if current is None else current
        newest = max(self.versions)
        if recorded > newest:
            if recorded - newest > VERSION_FAR:
                base = current if current is not None else self.versions[newest]
                return base + recorded - newest
            return current if current is not None else self.versions[newest] + recorded - newest
        nearest = min(self.versions, key=lambda known: (abs(known - recorded), known))
        return max(1, self.versions[nearest] + recorded - nearest)

    def substitute(self, text: str) -> str:
        """Replace every recorded value in a text by its live one."""
        for table in (self.names, self.values, self.hosts):
            for recorded in sorted(table, key=len, reverse=True):
                if recorded in text:
                    text = text.replace(recorded, table[recorded])
        return text

    def substitute_tree(self, value: Any, current: int | None = None) -> Any:
        """Replace recorded values in a JSON document."""
        if isinstance(value, dict):
            return {
                self.substitute(key): self._substitute_field(key, item, current)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.substitute_tree(item, current) for item in value]
        return self.substitute(value) if isinstance(value, str) else value

    def _substitute_field(self, key: str, item: Any, current: int | None) -> Any:
        if key == "resourceVersion" and isinstance(item, str) and item.isdigit():
            number = int(item)
            if number in self.versions:
                return str(self.versions[number])
            return item
        if key in ("nodePort", "healthCheckNodePort") and item in self.ports:
            return self.ports[item]
        return self.substitute_tree(item, current)
