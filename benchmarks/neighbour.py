"""How long a tenant waits for a small GET while another one sends requests that ask for much work.

    python -m benchmarks.neighbour                # every one of `tests/attack/bombs.py`
    python -m benchmarks.neighbour YAML "JSON"    # those whose name begins so

Each is sent again and again for two seconds, by one client; another asks for one small object.
The goal is 100 ms for 99 of 100 answers, on a machine that does nothing else. On a busy one look at
the server's processor time while an answer was waited for: it says what the request held up.
"""

from __future__ import annotations

import shutil
import sys

from benchmarks.report import Figure, save
from tests.attack.bombs import BOMBS
from tests.attack.neighbour import set_off
from tests.sandbox.conftest import make_server

GOAL_MS = 100.0
SECONDS = 2.0


def main(words: list[str]) -> None:
    """Measure and print."""
    figures = []
    for bomb in BOMBS:
        if words and not bomb.name.startswith(tuple(words)):
            continue
        server = make_server()
        try:
            set_off(server.start(), bomb)  # what is loaded at the first time is not measured
            waits, _ = set_off(server, bomb, SECONDS)
        finally:
            server.stop()
            shutil.rmtree(server.state, ignore_errors=True)
        value, work = (waits.percentile(0.99, of) * 1000 for of in (waits.seconds, waits.work))
        met = value <= GOAL_MS
        count = len(waits.seconds)
        text = f"{count} answers, {work:.0f} ms p99 of the server's processor time"
        figures.append(Figure(bomb.name, value, "ms p99", f"<= {GOAL_MS:.0f}", met, text, count))
    save("neighbour", figures)


if __name__ == "__main__":
    main(sys.argv[1:])
