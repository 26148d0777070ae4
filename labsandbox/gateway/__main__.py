"""`python -m labsandbox.gateway`: the gateway alone, in front of any Kubernetes cluster's pods."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labsandbox import certificates, gateway, program


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m labsandbox.gateway", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API")
    parser.add_argument(
        "--ca",
        type=Path,
        required=True,
        help="folder with ca.crt and ca.key, made if missing; learners trust ca.crt",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on and to announce")
    parser.add_argument(
        "--pods-on-loopback",
        action="store_true",
        help="the pods are processes of this machine, started by `python -m labsandbox.node`",
    )
    chosen = parser.parse_args(words)
    certificates.ensure_authority(chosen.ca, "labsandbox-gateway")
    settings = gateway.GatewaySettings(chosen.ca, chosen.host, chosen.pods_on_loopback)
    return program.run(chosen.kubeconfig, "gateway", lambda client: gateway.run(client, settings))


if __name__ == "__main__":
    sys.exit(main())
