"""`kubectl hpecp`: turn a session into a Kubernetes credential, and never ask a question.

The original plugin prompts for a password when the session is over, which hangs a notebook or a
CI job. This one fails with one sentence instead. Standard library only: it runs at every kubectl
call, so it has to start fast. The session comes in the environment, which the kubeconfig sets: a
command line can be read by every user of the host.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime

_SECONDS = 15
SESSION = "HPECP_SESSION"


def main(words: list[str] | None = None) -> int:
    """Run the plugin; return the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if words[:1] == ["hpecp"]:
        words = words[1:]
    options = _parser().parse_args(words)
    session = os.environ.get(SESSION, "")
    if options.verb == "version":
        print("kubectl-hpecp of the House on the Lake labs")
        return 0
    if not session:
        return _fail(
            f"Expected the session in the environment variable {SESSION}, which the kubeconfig "
            "sets; found none. Fetch a new kubeconfig: run `labsandbox kubeconfig`, or lab core-01."
        )
    try:
        print(json.dumps(_credential(options, session)))
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return _fail("Your session is over. Sign in again: run lab core-01, then this again.")
        return _fail(f"{options.gateway} answered {error.code}: {_message(error)}")
    except (OSError, ValueError) as error:
        return _fail(
            f"The platform at {options.gateway} does not answer ({error}). "
            "Start it with `labsandbox up`, then try again."
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubectl hpecp")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("version", help="print the version")
    login = verbs.add_parser("authenticate", help="print an ExecCredential for a session")
    login.add_argument("gateway", help="host:port of the platform")
    login.add_argument("--hpecp-user", required=True)
    login.add_argument("--hpecp-ca", default=None, help="the certificate to trust")
    return parser


def _credential(options: argparse.Namespace, session: str) -> dict[str, object]:
    request = urllib.request.Request(
        f"https://{options.gateway}/api/v2/k8stoken",
        headers={"X-BDS-SESSION": session, "Accept": "application/json"},
    )
    trusted = ssl.create_default_context(cafile=options.hpecp_ca)
    with urllib.request.urlopen(request, timeout=_SECONDS, context=trusted) as answer:
        made = json.load(answer)
    expiry = datetime.fromtimestamp(made["expiry_time"], UTC)
    return {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {
            "token": made["token"],
            "expirationTimestamp": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error).get("message", error.reason))
    except ValueError:
        return str(error.reason)


def _fail(sentence: str) -> int:
    print(f"kubectl-hpecp: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
