"""The platform's REST API, as its administrator uses it to make room for a class.

Only calls that the published clients use: sign-in, lists, `POST` of a tenant and a user, `PUT
…?user` for a role. So the same works on the laptop platform and on a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import requests
import yaml

from labhelpers.deadline import WaitTimeout, wait
from labrunner.errors import LabError

MEMBER, ADMIN = "Member", "Admin"
_SECONDS = 60
_TENANT_SECONDS = 300.0
_TENANT = {
    "tenant_type": "k8s",
    "member_key_available": "all_admins",
    "features": {"ml_project": True, "kubernetes_access": True},
    "tenant_type_info": {"is_namespace_owner": True, "map_services_to_gateway": True},
}


class PlatformRefused(LabError):
    """The platform did not do what was asked, or did not answer."""


@dataclass(frozen=True)
class Tenant:
    """A tenant, as the platform shows it."""

    name: str
    href: str
    namespace: str
    status: str


class FrontDoor:
    """One signed-in session; leaving the `with` block signs it out."""

    def __init__(self, url: str, ca: str, name: str, password: str, tenant: str | None = None):
        self.url = url.rstrip("/")
        self.name = name
        self._http = requests.Session()
        self._http.verify, self._http.trust_env = ca, False
        body = {"name": name, "password": password}
        if tenant is None:  # what hpecp calls when it names no tenant
            answer = self._ask("POST", "/api/v1/login", body)
        else:
            answer = self._ask("POST", "/api/v2/session", {**body, "tenant_name": tenant})
        self._http.headers["X-BDS-SESSION"] = answer.headers["Location"]

    def __enter__(self) -> FrontDoor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session = str(self._http.headers["X-BDS-SESSION"]).replace("/v1/", "/v2/")
        try:
            self._http.delete(self.url + session, timeout=5)
        except requests.RequestException:  # it ends by itself
            pass
        finally:
            self._http.close()

    def tenants(self) -> dict[str, Tenant]:
        """Return all tenants by name."""
        shown = self._listed("/api/v1/tenant", "tenants")
        return {tenant.name: tenant for tenant in map(_tenant, shown)}

    def users(self) -> dict[str, str]:
        """Return the address of each user by name."""
        shown = self._listed("/api/v1/user", "users")
        return {one["label"]["name"]: one["_links"]["self"]["href"] for one in shown}

    def roles(self) -> dict[str, str]:
        """Return the address of each role by name."""
        shown = self._listed("/api/v1/role", "roles")
        return {one["label"]["name"]: one["_links"]["self"]["href"] for one in shown}

    def add_tenant(self, name: str, description: str) -> None:
        """Create a tenant."""
        clusters = self._listed("/api/v2/k8scluster", "k8sclusters")
        if not clusters:
            raise PlatformRefused(
                f"Expected a Kubernetes cluster at {self.url} for the tenant {name}, found none. "
                "Ask the platform's administrator for one."
            )
        label = {"name": name, "description": description}
        cluster = clusters[0]["_links"]["self"]["href"]
        self._ask("POST", "/api/v1/tenant", {**_TENANT, "label": label, "k8s_cluster": cluster})

    def ready_tenant(self, name: str) -> Tenant:
        """Return a tenant when it is ready to work in."""
        try:
            found = wait(
                f"the tenant {name} to be ready",
                lambda: self.tenants().get(name),
                until=lambda seen: seen and seen.status in ("ready", "error"),
                deadline=_TENANT_SECONDS,
                ignoring=(),
            )
        except WaitTimeout as error:
            raise PlatformRefused(f"{error} Look at it in the platform's own pages.") from error
        if found is None or found.status != "ready":
            raise PlatformRefused(
                f"Expected the tenant {name} to become ready, found the status error. "
                "Delete it in the platform's own pages and type the same again."
            )
        return found

    def add_user(self, name: str, password: str) -> str:
        """Create a user; return its address."""
        label = {"name": name, "description": ""}
        body = {"label": label, "password": password, "is_external": False}
        return str(self._ask("POST", "/api/v1/user", body).headers["Location"])

    def assign(self, user: str, tenant: Tenant, role: str) -> None:
        """Give a user a role in a tenant; safe to repeat."""
        body = {"operation": "assign", "user": user, "role": role}
        self._ask("PUT", f"{tenant.href}?user", body)

    def kubeconfig(self) -> dict[str, Any]:
        """Return the kubeconfig of a tenant session; a plain token where the platform gives one."""
        answer = self._ask("GET", "/api/v2/k8skubeconfig?token=true")
        return dict(yaml.safe_load(answer.text))

    def _listed(self, path: str, plural: str) -> list[dict[str, Any]]:
        return list(self._ask("GET", path).json()["_embedded"][plural])

    def _ask(self, verb: str, path: str, body: object = None) -> requests.Response:
        try:
            answer = self._http.request(verb, self.url + path, json=body, timeout=_SECONDS)
        except requests.RequestException as error:
            raise PlatformRefused(
                f"Expected the platform to answer at {self.url}, found: {_reason(error)}. "
                "Does it run, and does EZMERAL_CA name its certificate? `labs doctor` looks."
            ) from error
        if not answer.ok:
            raise PlatformRefused(
                f"Expected the platform to accept {verb} {path} from {self.name}, "
                f"found HTTP {answer.status_code}: {_said(answer)}"
            )
        return answer


def can_sign_in(url: str, ca: str, name: str, password: str) -> bool:
    """Tell whether a name and a password belong together."""
    with requests.Session() as http:
        http.verify, http.trust_env = ca, False
        body = {"name": name, "password": password}
        answer = http.post(f"{url.rstrip('/')}/api/v1/login", json=body, timeout=_SECONDS)
        if not answer.ok:
            return False
        session = answer.headers["Location"]
        there = f"{url.rstrip('/')}{session.replace('/v1/', '/v2/')}"
        http.delete(there, headers={"X-BDS-SESSION": session}, timeout=_SECONDS)
        return True


def _tenant(shown: dict[str, Any]) -> Tenant:
    inside = shown.get("tenant_enclosed_properties") or {}
    href = shown["_links"]["self"]["href"]
    name = shown["label"]["name"]
    return Tenant(name, href, str(inside.get("namespace", "")), str(shown.get("status", "")))


def _reason(error: BaseException) -> str:
    """Return the innermost words of a failed connection."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__


def _said(answer: requests.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        return (answer.text or answer.reason or "nothing was said")[:300]
    return f"{said.get('message', answer.reason)} {said.get('hint', '')}".strip()
