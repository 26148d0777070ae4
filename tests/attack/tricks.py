"""How an attacker writes a path, and what he puts in its way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

UP = "/.." * 24


@dataclass(frozen=True)
class Trick:
    """A path for a manifest, and what a shell does first, in the folder the path begins in."""

    name: str
    path: str
    setup: str = ""


def of_file(target: str) -> list[Trick]:
    """Return ways to have a file of the host taken for one of a volume or a root."""
    folder, _, name = target.rpartition("/")
    return [
        Trick("plain", target),
        Trick("up", f"{UP}{target}"),
        Trick("up-relative", f"x{UP}{target}", "mkdir -p x"),
        Trick("up-inside", f"a/b{UP}{target}", "mkdir -p a/b"),
        Trick("slashes", f"//{UP.replace('/', '//./')}{target}"),
        Trick("link", "l", f"ln -s {target} l"),
        Trick("link-to-folder", f"l/{name}", f"ln -s {folder} l"),
        Trick("link-to-root", f"l{target}", "ln -s / l"),
        Trick("link-relative", "l", f"ln -s ..{UP}{target} l"),
        Trick("link-to-link", "l", f"ln -s {target} m; ln -s m l"),
        Trick("link-deep", f"a/b/l/{name}", f"mkdir -p a/b; ln -s {folder} a/b/l"),
        Trick("link-and-up", "a/l/../m", f"mkdir -p a; ln -s . a/l; ln -s {target} m"),
        Trick("link-magic", f"l{target}", "ln -s /proc/self/root l"),
        Trick("link-cwd", f"l{UP}{target}", "ln -s /proc/self/cwd l"),
        Trick("link-descriptor", f"l/..{UP}{target}", "ln -s /proc/self/fd l"),
        Trick("link-init", f"l{target}", "ln -s /proc/1/root l"),
        Trick("hard-link", "l", f"ln {target} l || true"),
        Trick("space", f" {UP}{target}"),
        Trick("long", f"{'d/' * 900}l", f"ln -s {target} l"),
        Trick("percent", f"/%2e%2e{target}"),
        Trick("backslash", f"..\\..\\..{target}"),
        Trick("newline", f"l\n{UP}{target}"),
        Trick("unicode", f"．．/．．{target}"),
        Trick("variable", f"$(UP){target}"),
    ]


def cases(
    targets: list[str], make: Callable[[str], list[Trick]], seed: int, limit: int
) -> Iterator[tuple[str, Trick]]:
    """Yield pairs of target and trick in a random order, each target and trick early on."""
    chance = random.Random(seed)
    pairs = [(target, trick) for target in targets for trick in make(target)]
    chance.shuffle(pairs)
    seen: set[str] = set()
    first = [p for p in pairs if p[1].name not in seen and not seen.add(p[1].name)]  # type: ignore[func-returns-value]
    rest = [pair for pair in pairs if pair not in first]
    yield from (first + rest)[:limit]
