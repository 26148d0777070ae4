"""The gateway: do the addresses that it gives to services answer from here?"""

from __future__ import annotations

from collections.abc import Iterator

import requests

from labclass.checkup.catalogue import SHARED
from labclass.checkup.finding import Finding, missing, ok
from labclass.checkup.front import handshake
from labclass.checkup.visit import SECONDS, Visit

NOTE = "hpecp-internal-gateway/"
PORT = 32700  # where jobs and predictions are sent


def addresses(visit: Visit) -> dict[int, str]:
    """Return service port -> host:port at the gateway, of the shared cluster's load balancer."""
    api = visit.require_api()
    selector = f"kubedirector.hpe.com/kdcluster={SHARED},kubedirector.hpe.com/role=LoadBalancer"
    _, body = api.get(api.core("services"), labelSelector=selector)
    return {
        int(key.removeprefix(NOTE)): str(value)
        for item in body.get("items") or []
        for key, value in (item["metadata"].get("annotations") or {}).items()
        if key.startswith(NOTE)
    }


def answers(visit: Visit) -> Iterator[Finding]:
    """Look whether port 32700 of the shared training cluster answers through the gateway."""
    expected = f"an address at the gateway for port {PORT} of {SHARED}, answering over TLS"
    found = addresses(visit)
    if PORT not in found:
        yield missing(
            "Gateway",
            expected,
            f"no annotation {NOTE}{PORT} on its services",
            "Label services for the gateway: serviceLabels of kd-global-config, as "
            "catalog/kd-global-config.yaml has them; then make the kdcluster again.",
        )
        return
    host, _, port = found[PORT].rpartition(":")
    authority = visit.value("GATEWAY_CA") or visit.value("EZMERAL_CA")
    problem = handshake(host, int(port), authority)
    if problem is not None:
        yield missing("Gateway", expected, f"{found[PORT]}: {problem[0]}", problem[1])
        return
    with requests.Session() as http:
        http.trust_env = False
        http.verify = authority
        answer = http.get(f"https://{found[PORT]}/", timeout=SECONDS)
    if answer.status_code in (502, 503, 504):
        yield missing(
            "Gateway",
            expected,
            f"{found[PORT]}: {answer.status_code}, it does not reach the pod",
            "May the gateway's addresses in? NetworkPolicy `gateway` of the tenant names them "
            "(site-example/tenant); until then nothing comes through.",
        )
        return
    yield ok("Gateway", expected, f"{found[PORT]} answers")
