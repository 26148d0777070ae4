"""`python -m labsandbox.controllers`: the controllers alone, against any Kubernetes API."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labsandbox import controllers, program


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.controllers", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API")
    parser.add_argument("--state", type=Path, default=Path("."), help="the platform's folder")
    chosen = parser.parse_args(words)
    return program.run(
        chosen.kubeconfig, "controllers", lambda client: controllers.run(client, chosen.state)
    )


if __name__ == "__main__":
    sys.exit(main())
