"""What a look at the platform found, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, MISSING, ADVICE, SKIPPED = "ok", "missing", "advice", "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was expected, what was found, what to type."""

    name: str
    state: str
    expected: str
    found: str
    cure: str = ""

    def masked(self, secrets: frozenset[str]) -> Finding:
        """Return the finding without any of these secrets in its words."""
        words = asdict(self)
        for name, text in words.items():
            for secret in sorted(secrets, key=len, reverse=True):
                text = text.replace(secret, "…")
            words[name] = text
        return Finding(**words)


def ok(name: str, expected: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(name, OK, expected, found)


def missing(name: str, expected: str, found: str, cure: str) -> Finding:
    """Return a finding that the labs will fail on."""
    return Finding(name, MISSING, expected, found, cure)


def advice(name: str, expected: str, found: str, cure: str) -> Finding:
    """Return a finding that somebody should know, and that no lab fails on."""
    return Finding(name, ADVICE, expected, found, cure)


def skipped(name: str, needed: str) -> Finding:
    """Return the finding that something could not be looked at yet."""
    return Finding(name, SKIPPED, f"{needed} first", "not looked at", f"Put {needed} right first.")
