"""The REST API: sign in, look around, fetch a kubeconfig."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from labsandbox import disk
from labsandbox.ezmeral import kubeconfig, passwords, source, views
from labsandbox.ezmeral.accounts import ROLES, Accounts, Session, Tenant, User
from labsandbox.ezmeral.body import read_object, read_text
from labsandbox.ezmeral.directory import Directory, map_groups, sign_in
from labsandbox.ezmeral.errors import (
    BadRequest,
    EzmeralError,
    Forbidden,
    NotFound,
    TooManyAttempts,
    Unauthorized,
)

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PrepareTenant = Callable[[Tenant], Awaitable[None]]

_CREDENTIALS = ("X-BDS-SESSION", "Authorization", "Cookie")
_COMPARED_AT_ONCE = 4
"""Each takes 16 MiB and 40 ms of a processor."""
_SERVER = "HPE Ezmeral Container Platform 5.3 (labsandbox)"
_SIGN_IN = "Sign in with POST /api/v2/session and send the Location it answers as X-BDS-SESSION."


@dataclass
class FrontDoor:
    """Everything the handlers need."""

    accounts: Accounts
    place: kubeconfig.Endpoint
    prepare_tenant: PrepareTenant
    session_seconds: float = 1440 * 60
    directory: Directory | None = None
    kubernetes_version: str = "1.32"
    throttle: passwords.Throttle = field(default_factory=passwords.Throttle)
    comparing: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_COMPARED_AT_ONCE)
    )

    def application(self) -> web.Application:
        """Return the web application of the REST API."""
        app = web.Application(middlewares=[_errors_as_json], client_max_size=1 << 20)
        app.on_response_prepare.append(_add_headers)
        for path in ("/api/v2/session", "/api/v2/session/{id}", "/api/v1/session/{id}"):
            app.router.add_get(path, self.read_session)
            if "{id}" in path:
                app.router.add_delete(path, self.delete_session)
        app.router.add_post("/api/v2/session", self.login_v2)
        app.router.add_post("/api/v1/login", self.login_v1)
        app.router.add_get("/api/v2/k8stoken", self.kubernetes_token)
        for slash in ("", "/"):
            app.router.add_get(f"/api/v2/k8skubeconfig{slash}", self.read_kubeconfig)
            app.router.add_get(f"/api/v1/tenant{slash}", self.list_tenants)
            app.router.add_get(f"/api/v2/tenant{slash}", self.list_tenants)
            app.router.add_get(f"/api/v1/user{slash}", self.list_users)
            app.router.add_get(f"/api/v1/role{slash}", self.list_roles)
            app.router.add_get(f"/api/v2/k8scluster{slash}", self.list_clusters)
            app.router.add_post(f"/api/v1/tenant{slash}", self.create_tenant)
            app.router.add_post(f"/api/v1/user{slash}", self.create_user)
        app.router.add_get("/api/v1/tenant/{id:[0-9]{1,18}}", self.read_tenant)
        app.router.add_put("/api/v1/tenant/{id:[0-9]{1,18}}", self.change_tenant)
        app.router.add_get("/api/v1/user/{id:[0-9]{1,18}}", self.read_user)
        app.router.add_get("/api/v1/role/{id:[0-9]{1,18}}", self.read_role)
        app.router.add_get("/api/v2/k8scluster/{id:[0-9]{1,18}}", self.read_cluster)
        app.router.add_get("/api/v2/config", self.read_config_v2)
        app.router.add_get("/api/v1/config", self.read_config_v1)
        app.router.add_get("/apidocs", self.read_docs)
        return app

    # sessions

    async def login_v2(self, request: web.Request) -> web.Response:
        """POST /api/v2/session."""
        session = await self._login(request)
        return _created(session.path)

    async def login_v1(self, request: web.Request) -> web.Response:
        """POST /api/v1/login; the session works on v2 paths too."""
        session = await self._login(request)
        return _created(f"/api/v1/session/{session.id}")

    async def _login(self, request: web.Request) -> Session:
        body = await read_object(request)
        name, password = read_text(body, "name"), read_text(body, "password")
        asker = source.of(request.transport)
        self.throttle.begin(name, asker)
        stored = self.accounts.stored_hash(name)
        async with self.comparing:
            right = await asyncio.to_thread(passwords.matches, password, stored)
        user = self.accounts.user_named(name) if right else None
        if user is None and self.directory is not None:
            user = await sign_in(self.directory, self.accounts, name, password)
        if user is None:
            raise Unauthorized("The user name or the password is wrong.", "Check both, then retry.")
        self.throttle.succeeded(name, asker)
        return self.accounts.open_session(
            user, self._tenant_asked(body, user), self.session_seconds
        )

    def _tenant_asked(self, body: dict[str, Any], user: User) -> Tenant | None:
        name, path = body.get("tenant_name"), body.get("tenant")
        if name is None and path is None:
            return None
        allowed = self.accounts.tenants() if user.is_site_admin else self.accounts.tenants_of(user)
        for tenant in allowed:
            if tenant.name == name or (name is None and tenant.href == path):
                return tenant
        known = ", ".join(tenant.name for tenant in allowed) or "none"
        # The same words for a tenant that does not exist and for one that is somebody else's.
        raise Forbidden(
            f"{user.name} is not a member of a tenant {name or path!r}.",
            f"Tenants of {user.name} (upper and lower case matter): {known}.",
        )

    def require_session(self, request: web.Request) -> Session:
        """Return the session of a request, or refuse it."""
        value = request.headers.get("X-BDS-SESSION") or request.headers.get("Authorization") or ""
        session = self.accounts.session(value.rsplit("/", 1)[-1]) if "/session/" in value else None
        if session is None:
            raise Unauthorized("There is no valid session in X-BDS-SESSION.", _SIGN_IN)
        if session.expiry <= time.time():
            raise Unauthorized(
                f"The session ended at {views.session(session)['expiry']} UTC.", _SIGN_IN
            )
        return session

    def require_site_admin(self, request: web.Request) -> Session:
        """Return the session of a site administrator, or refuse the request."""
        session = self.require_session(request)
        if not session.user.is_site_admin:
            raise Forbidden("Only a site administrator may do this.", "Sign in as one.")
        return session

    async def read_session(self, request: web.Request) -> web.Response:
        """GET one session: one's own, or any for a site administrator."""
        session = self.require_session(request)
        wanted = request.match_info.get("id", session.id)
        found = session if wanted == session.id else self.accounts.session(wanted)
        if found is None or (found.user != session.user and not session.user.is_site_admin):
            raise NotFound(f"There is no session {wanted}.")
        return web.json_response(views.session(found))

    async def delete_session(self, request: web.Request) -> web.Response:
        """DELETE a session: signed out at once, its tokens with it."""
        session = self.require_session(request)
        found = self.accounts.session(request.match_info["id"])
        if found is None or (found.user != session.user and not session.user.is_site_admin):
            raise NotFound(f"There is no session {request.match_info['id']}.")
        self.accounts.close_session(found.id)
        return web.Response(status=204)

    # Kubernetes

    async def read_kubeconfig(self, request: web.Request) -> web.Response:
        """GET the kubeconfig of a tenant session; `?token=true` for a plain bearer token."""
        session = self.require_session(request)
        if session.tenant is None:
            raise Forbidden(
                "A kubeconfig belongs to a tenant, and this session has none.",
                'Sign in with "tenant_name" set.',
            )
        token = None
        if request.query.get("token", "").lower() in ("true", "1"):
            token, _ = self.accounts.issue_session_token(session)
        return web.Response(
            body=kubeconfig.render(session, self.place, token).encode(),
            headers={
                "Content-Type": "text/yaml",
                "Content-Disposition": 'attachment; filename="config"',
            },
        )

    async def kubernetes_token(self, request: web.Request) -> web.Response:
        """GET a short-lived Kubernetes token; what the kubectl plugin calls."""
        token, expiry = self.accounts.issue_token(self.require_session(request))
        return web.json_response({"token": token, "expiry_time": int(expiry)})

    async def list_clusters(self, request: web.Request) -> web.Response:
        """GET the list of Kubernetes clusters."""
        self.require_session(request)
        shown = views.kubernetes_cluster(self.place.kubernetes, self.kubernetes_version)
        return web.json_response(views.collection("/api/v2/k8scluster", "k8sclusters", [shown]))

    async def read_cluster(self, request: web.Request) -> web.Response:
        """GET the one Kubernetes cluster."""
        self.require_session(request)
        if request.match_info["id"] != "1":
            raise NotFound(f"There is no Kubernetes cluster {request.match_info['id']}.")
        return web.json_response(
            views.kubernetes_cluster(self.place.kubernetes, self.kubernetes_version)
        )

    # tenants, users, roles

    def _visible_tenants(self, session: Session) -> list[Tenant]:
        if session.user.is_site_admin:
            return self.accounts.tenants()
        return self.accounts.tenants_of(session.user)

    def _visible_tenant(self, request: web.Request) -> Tenant:
        number = int(request.match_info["id"])
        for tenant in self._visible_tenants(self.require_session(request)):
            if tenant.id == number:
                return tenant
        raise NotFound(f"There is no tenant {number}.")

    async def list_tenants(self, request: web.Request) -> web.Response:
        """GET the tenants the session may see."""
        shown = [
            views.tenant(found, self.accounts.groups_of(found))
            for found in self._visible_tenants(self.require_session(request))
        ]
        return web.json_response(views.collection("/api/v1/tenant", "tenants", shown))

    async def read_tenant(self, request: web.Request) -> web.Response:
        """GET a tenant; `?user` lists its members for whoever administers it."""
        tenant = self._visible_tenant(request)
        if "user" not in request.query:
            return web.json_response(views.tenant(tenant, self.accounts.groups_of(tenant)))
        session = self.require_session(request)
        if not session.user.is_site_admin and self.accounts.role_in(session.user, tenant) != 2:
            raise Forbidden("Only the tenant's administrators may list its members.")
        shown = [views.member(user, role) for user, role in self.accounts.members_of(tenant)]
        return web.json_response(views.collection(f"{tenant.href}?user", "users", shown))

    async def create_tenant(self, request: web.Request) -> web.Response:
        """POST a tenant."""
        self.require_site_admin(request)
        label = (await read_object(request)).get("label")
        if not isinstance(label, dict):
            raise BadRequest("Expected a label with a name.", 'Send {"label": {"name": "…"}, …}.')
        tenant = self.accounts.add_tenant(
            read_text(label, "name"), str(label.get("description", ""))
        )
        try:
            await self.prepare_tenant(tenant)
        except BaseException:
            # Half a tenant would be in the way of the next try.
            self.accounts.remove_tenant(tenant)
            raise
        return _created(tenant.href)

    async def change_tenant(self, request: web.Request) -> web.Response:
        """PUT ?user gives a user a role; ?external_user_groups gives groups of a directory one."""
        self.require_site_admin(request)
        tenant = self._visible_tenant(request)
        if "external_user_groups" in request.query:
            if self.directory is None:
                raise BadRequest(
                    "This platform has no AD or LDAP to take groups from.",
                    f"`labsandbox up --directory` starts one; or PUT {tenant.href}?user.",
                )
            map_groups(self.accounts, tenant, await read_object(request))
            return web.Response(status=204)
        body = await read_object(request)
        named = {user.href: user for user in self.accounts.users()}
        user, role = named.get(read_text(body, "user")), body.get("role", "")
        number = str(role).rsplit("/", 1)[-1]
        if user is None or number not in map(str, ROLES):
            raise BadRequest(
                "Expected a user and a role by their addresses.",
                'Send {"operation": "assign", "user": "/api/v1/user/4", "role": "/api/v1/role/3"}.',
            )
        self.accounts.set_role(user, tenant, int(number))
        return web.Response(status=204)

    async def list_users(self, request: web.Request) -> web.Response:
        """GET all users, or oneself for whoever is no site administrator."""
        session = self.require_session(request)
        users = self.accounts.users() if session.user.is_site_admin else [session.user]
        shown = [views.user(found) for found in users]
        return web.json_response(views.collection("/api/v1/user", "users", shown))

    async def read_user(self, request: web.Request) -> web.Response:
        """GET a user."""
        session = self.require_session(request)
        number = int(request.match_info["id"])
        users = self.accounts.users() if session.user.is_site_admin else [session.user]
        for user in users:
            if user.id == number:
                return web.json_response(views.user(user))
        raise NotFound(f"There is no user {number}.")

    async def create_user(self, request: web.Request) -> web.Response:
        """POST a user."""
        self.require_site_admin(request)
        body = await read_object(request)
        label = body.get("label") if isinstance(body.get("label"), dict) else body
        user = self.accounts.add_user(read_text(label or body, "name"), read_text(body, "password"))
        return _created(user.href)

    async def list_roles(self, request: web.Request) -> web.Response:
        """GET the roles."""
        self.require_session(request)
        shown = [views.role(number) for number in ROLES]
        return web.json_response(views.collection("/api/v1/role", "roles", shown))

    async def read_role(self, request: web.Request) -> web.Response:
        """GET a role."""
        self.require_session(request)
        number = int(request.match_info["id"])
        if number not in ROLES:
            raise NotFound(f"There is no role {number}.")
        return web.json_response(views.role(number))

    # about the platform

    async def read_config_v2(self, request: web.Request) -> web.Response:
        """GET /api/v2/config: what clients probe http or https with; needs no session."""
        return web.json_response({"_links": {"self": {"href": "/api/v2/config"}}})

    async def read_config_v1(self, request: web.Request) -> web.Response:
        """GET the configuration."""
        self.require_session(request)
        return web.json_response(
            {"result": "Success", "objects": {"bds_global_version": views.GLOBAL_VERSION}}
        )

    async def read_docs(self, request: web.Request) -> web.Response:
        """GET the list of calls."""
        routes = sorted(
            {
                (route.resource.canonical, route.method)
                for route in request.app.router.routes()
                if route.resource and route.method != "HEAD"
            }
        )
        rows = "".join(f"<tr><td>{method}<td><code>{path}</code>" for path, method in routes)
        return web.Response(
            text=f"<!doctype html><title>REST API</title><h1>REST API</h1><table>{rows}</table>",
            content_type="text/html",
        )


def _created(location: str) -> web.Response:
    return web.Response(
        status=201,
        body=b"201 Created\r\n",
        headers={"Location": location, "Content-Type": "text/plain"},
    )


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EzmeralError as error:
        headers = {}
        if isinstance(error, TooManyAttempts):
            headers["Retry-After"] = str(error.seconds)
        return _problem(error.status, error.message, error.hint, headers)
    except web.HTTPException as error:
        hint = "GET /apidocs lists what there is." if error.status in (404, 405) else ""
        return _problem(error.status, f"{error.reason}: {request.method} {request.path}.", hint)
    except Exception as error:
        if disk.is_full(error):
            return _problem(
                507,
                "The disk that holds the platform's accounts is full; nothing was changed.",
                "Free some space, then try again.",
            )
        log.exception("%s %s failed", request.method, request.path)
        return _problem(
            500,
            "This is a bug in labsandbox.",
            "Please report it with the output of `labsandbox logs`.",
        )


def _problem(
    status: int, message: str, hint: str, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(
        {"result": "Error", "status": status, "message": message, "hint": hint},
        status=status,
        headers=headers,
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = _SERVER
    if request.method == "GET" and not any(name in request.headers for name in _CREDENTIALS):
        # The original says so everywhere; here pages of other sites read nothing of a session.
        response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cache-Control"] = "no-store"
