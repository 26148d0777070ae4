"""`python -m tests.golden FOLDER [AREA …]`: replay recordings and score the answers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.golden.coverage import FILE, write_coverage
from tests.golden.recording import read_areas
from tests.golden.replay import Result, replay_areas
from tests.golden.report import KNOWN, Known, describe, explain, read_known, score_line
from tests.golden.server import TOKENS, OwnServer, Server

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Replay and report; 0 when every difference is listed with its reason."""
    options = _parse(arguments)
    known = read_known(options.known)
    areas = read_areas(options.folder, tuple(options.areas))
    if not areas:
        print(
            f"Expected recordings named like 03-configmaps.json in {options.folder}, found none. "
            "Type the folder that holds them."
        )
        return 2
    results: list[Result] = []
    unlisted = 0
    scores = []
    with _server(options) as server:
        for area, found, seconds in replay_areas(server, areas):
            results += found
            scores.append(score_line(area.name, found, known))
            print(f"== {scores[-1]}  {seconds:.1f} s", flush=True)
            unlisted += _print_differences(found, known, options.verbose)
    print("\n".join(["", *scores, score_line("all", results, known)]))
    if options.coverage:
        FILE.write_text(write_coverage(areas, results, known), encoding="utf-8")
        print(f"Wrote {FILE.name}.")
    if unlisted:
        print(f"{unlisted} differences are not listed in {options.known.name}.")
    return 1 if unlisted else 0


def _print_differences(results: list[Result], known: list[Known], verbose: bool) -> int:
    unlisted = 0
    for result in results:
        if result.is_same:
            continue
        entry = explain(result, known)
        unlisted += entry is None
        if entry is not None and not verbose:
            continue
        print(f"   {result.exchange}{'  [listed: ' + entry.reason + ']' if entry else ''}")
        for line in describe(result, 40 if verbose else 6):
            print(f"      {line}")
    sys.stdout.flush()
    return unlisted


def _server(options: argparse.Namespace) -> Server:
    if not options.url:
        return OwnServer()
    tokens = {**TOKENS, **(json.loads(options.tokens) if options.tokens else {})}
    return Server(options.url, options.ca, tokens, options.restart, options.compact)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=HERE / "recordings")
    parser.add_argument("areas", nargs="*", help="prefixes of area names, like 03 07")
    parser.add_argument("--known", type=Path, default=KNOWN, help="listed differences")
    parser.add_argument("--url", help="address of a server that already runs")
    parser.add_argument("--ca", help="its CA file")
    parser.add_argument("--tokens", help='JSON: {"admin": "…", "alice": "…", "bob": "…"}')
    parser.add_argument("--restart", default="", help="command that restarts that server")
    parser.add_argument("--compact", default="", help="command that compacts its history")
    parser.add_argument("--coverage", action="store_true", help="write COVERAGE.md")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every difference")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
