"""/healthz, /livez, /readyz and the list of all paths."""

from __future__ import annotations

from labsandbox.apiserver.discovery.documents import group_versions
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, text
from labsandbox.apiserver.registry import Catalog

_COMMON = ("ping", "log", "etcd")
_HOOKS = (
    "start-apiserver-admission-initializer",
    "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer",
    "priority-and-fairness-filter",
    "storage-object-count-tracker-hook",
    "start-apiextensions-informers",
    "start-apiextensions-controllers",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "start-cluster-authentication-info-controller",
    "start-kube-apiserver-identity-lease-controller",
    "start-kube-apiserver-identity-lease-garbage-collector",
    "start-legacy-token-tracking-controller",
    "start-service-ip-repair-controllers",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
    "aggregator-reload-proxy-client-cert",
    "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "apiservice-registration-controller",
    "apiservice-wait-for-first-sync",
    "apiservice-discovery-controller",
    "kube-apiserver-autoregistration",
    "autoregister-completion",
    "apiservice-openapi-controller",
    "apiservice-openapiv3-controller",
)
_NOT_HOOKS = {"autoregister-completion"}


def checks(probe: str) -> list[str]:
    """The names of a probe's checks in the order they are shown."""
    names = list(_COMMON)
    if probe == "readyz":
        names += ["etcd-readiness", "informer-sync"]
    names += [hook if hook in _NOT_HOOKS else f"poststarthook/{hook}" for hook in _HOOKS]
    if probe == "readyz":
        names.append("shutdown")
    return names


def probe(request: Request) -> Response | None:
    """Answer a health path; None when the path is none."""
    name, _, check = request.path.strip("/").partition("/")
    if name not in ("healthz", "livez", "readyz"):
        return None
    if check:
        return text(200, "ok", sniff=True) if check in checks(name) else None
    if "verbose" not in request.query:
        return text(200, "ok")
    excluded = set(request.query.get("exclude", ()))
    lines = [
        f"[+]{one} excluded: ok" if one in excluded else f"[+]{one} ok" for one in checks(name)
    ]
    unknown = excluded - set(checks(name))
    if unknown:
        quoted = ", ".join(f'"{one}"' for one in sorted(unknown))
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    return text(200, "\n".join([*lines, f"{name} check passed", ""]))


def root_paths(catalog: Catalog) -> dict[str, list[str]]:
    """What GET / lists."""
    found = {"/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"}
    for group in catalog.groups():
        if group:
            found.add(f"/apis/{group}")
            found |= {f"/apis/{group}/{version}" for version in group_versions(catalog, group)}
    for name in ("healthz", "livez", "readyz"):
        found.add(f"/{name}")
        found |= {f"/{name}/{check}" for check in checks(name)}
    found |= {"/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openapi/v3/"}
    found |= {"/openid/v1/jwks", "/version"}
    return {"paths": sorted(found)}
