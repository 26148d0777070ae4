"""`python -m labsandbox.apiserver --state DIR`: the API server as a program."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from pathlib import Path

from labsandbox import bounds, loop


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m labsandbox.apiserver", description="A Kubernetes-compatible API server."
    )
    parser.add_argument("--state", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0: the last one, or any")
    parser.add_argument("--token-auth-file", type=Path, help="token,user,uid,groups per line")
    parser.add_argument(
        "--authentication-token-webhook-config-file",
        type=Path,
        dest="webhook",
        help="kubeconfig of the service that reviews tokens",
    )
    parser.add_argument(
        "--admission-webhook-calls",
        type=int,
        default=1,
        dest="webhook_calls",
        help="how often each webhook is asked about one request; a kube-apiserver may ask again",
    )
    parser.add_argument(
        "--watch-cache-megabytes",
        type=int,
        metavar="N",
        help="how much of the past stays in memory for those who watch (default: 24)",
    )
    parser.add_argument("--parent-pid", type=int, help="exit when this process is gone")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is told to stop."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    from labsandbox.apiserver.server import PortError, ServerSettings, serve
    from labsandbox.apiserver.store import MOST_KEPT, DatabaseError

    settings = ServerSettings(
        state=options.state,
        host=options.host,
        port=options.port,
        token_file=options.token_auth_file,
        webhook_file=options.webhook,
        webhook_calls=options.webhook_calls,
        most_kept=(options.watch_cache_megabytes or 0) * 1024 * 1024 or MOST_KEPT,
        parent=options.parent_pid,
    )
    bounds.protect()
    gc.freeze()
    try:
        loop.run(serve(settings))
    except (PortError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
