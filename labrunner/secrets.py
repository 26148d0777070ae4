"""Look for the secrets of a run, and for anything shaped like one, in what a run leaves behind.

The passwords, tokens and keys of this run are known: they lie in files of mode 600 below the
platform's state folder and in the environment. A finding never repeats the secret.
"""

from __future__ import annotations

import csv
import io
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    # KubeDirector writes it into a kdcluster's status and on its services.
    "an engine's token": re.compile(r"\b(?:authToken|kd-auth-token)[\\'\": ]{1,9}[0-9a-f]{32}\b"),
    "a password in an address": re.compile(
        r"\b[a-z][a-z0-9+]*://[^\s/:@'\"{}<>$]+:[^\s/@'\"{}<>$]+@"
    ),
}
NAMED = re.compile(r"PASSWORD|TOKEN|SECRET|PRIVATE")
IN_YAML = re.compile(r"(?:token|password|client-key-data)\"?: *\"?([^\s\",]{8,})")
HOLDS_ONE = re.compile(r"passw|token|secret|credential|cookie", re.I)
SHORTEST = 8
LARGEST_FILE = 256 * 1024


def of_run(state: Path, environment: Mapping[str, str]) -> set[str]:
    """Return the secrets that this run knows."""
    found = {
        value
        for name, value in environment.items()
        if NAMED.search(name) and not name.endswith(("_FILE", "_PATH"))
    }
    files = [Path(value) for name, value in environment.items() if name.endswith("PASSWORD_FILE")]
    files += [Path(part) for part in environment.get("KUBECONFIG", "").split(":") if part]
    if state.is_dir():
        files += [path for path in state.rglob("*") if _is_private(path)]
    for path in files:
        found |= _in_file(path)
    return {secret for secret in found if len(secret) >= SHORTEST}


def search(text: str, known: Iterable[str]) -> list[str]:
    """Return what was found in a text, in words that do not repeat it.

    >>> search("the word is swordfish", ["swordfish"])
    ['a secret of this run (9 characters)']
    """
    found = [f"a secret of this run ({len(one)} characters)" for one in known if one in text]
    return found + [name for name, shape in SHAPES.items() if shape.search(text)]


def _is_private(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and not status.st_mode & 0o077
        and status.st_size <= LARGEST_FILE
    )


def _in_file(path: Path) -> set[str]:
    """Return the secrets in one private file: its YAML secrets, its key, or all of it."""
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return set()
    if "PRIVATE KEY" in text:
        lines = [line for line in text.splitlines() if len(line) >= 40 and "-----" not in line]
        return set(lines)
    if found := set(IN_YAML.findall(text)):
        return found
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text))
        return {row[name] for row in rows for name in row if HOLDS_ONE.search(name) and row[name]}
    is_whole = HOLDS_ONE.search(path.name) and len(text) < 512 and not re.search(r"\s", text)
    return {text} if is_whole else set()
