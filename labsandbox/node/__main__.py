"""`python -m labsandbox.node`: the node agent alone, against any Kubernetes API."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labsandbox import loop, node, program
from labsandbox.node import pressure
from labsandbox.node.settings import NodeSettings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m labsandbox.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="how to reach the API")
    parser.add_argument("--state", type=Path, required=True, help="the platform's folder")
    parser.add_argument("--name", default=NodeSettings.name, help="the node's name")
    parser.add_argument("--images", type=Path, default=NodeSettings.images)
    parser.add_argument("--client-ca", type=Path, help="whose clients may ask for logs and exec")
    parser.add_argument("--allocatable", action="append", default=[], metavar="RESOURCE=AMOUNT")
    parser.add_argument("--allow-host-path", type=Path, action="append", default=[])
    parser.add_argument(
        "--eviction-hard",
        type=pressure.read_thresholds,
        default={},
        metavar="SIGNAL<AMOUNT,...",
        help="when the node is under pressure, as a kubelet takes it",
    )
    parser.add_argument("--no-scheduler", action="store_true", help="another one binds the pods")
    parser.add_argument("--stop", action="store_true", help="end all pods and the keeper, and go")
    return parser.parse_args()


def main() -> int:
    """Run from the command line."""
    arguments = _arguments()
    if arguments.stop:
        loop.run(node.stop(arguments.state))
        return 0
    settings = NodeSettings(
        name=arguments.name,
        images=arguments.images,
        is_scheduling=not arguments.no_scheduler,
        allocatable=dict(pair.split("=", 1) for pair in arguments.allocatable),
        allowed_host_paths=tuple(arguments.allow_host_path),
        client_ca=arguments.client_ca,
        thresholds=arguments.eviction_hard,
    )
    kubeconfig = arguments.kubeconfig or arguments.state / "kubeconfigs" / "node.conf"
    return program.run(
        kubeconfig, "kubelet", lambda client: node.run(client, arguments.state, settings)
    )


if __name__ == "__main__":
    sys.exit(main())
