"""Answer the API server's question whose token this is (TokenReview v1 and v1beta1)."""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web

from labsandbox.ezmeral.accounts import ROLES, Accounts, Session
from labsandbox.ezmeral.errors import BadRequest

_VERSIONS = ("authentication.k8s.io/v1", "authentication.k8s.io/v1beta1")


def group_of(namespace: str, role: int) -> str:
    """Return the RBAC group of everybody with this role in the tenant of that namespace."""
    return f"hpecp:{namespace}:{ROLES[role].lower().replace(' ', '-')}"


def handler(accounts: Accounts, secret: str) -> Any:
    """Return the request handler; only who knows `secret` may ask."""

    async def review(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given, f"Bearer {secret}"):
            return web.json_response({"message": "Only the API server may ask."}, status=401)
        asked = await _review(request)
        session = accounts.session_of_token(str(asked["spec"].get("token") or ""))
        return web.json_response(
            {
                # An API server refuses an answer in another version than the one it asked in; a
                # kube-apiserver asks in v1beta1 unless its flags say otherwise.
                "apiVersion": asked["apiVersion"],
                "kind": "TokenReview",
                "status": _identity(session) if session else {"authenticated": False},
            }
        )

    return review


async def _review(request: web.Request) -> dict[str, Any]:
    """Return the TokenReview of a request, or refuse what is none."""
    try:
        asked: Any = await request.json()
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    is_review = isinstance(asked, dict) and isinstance(asked.get("spec"), dict)
    if not is_review or asked.get("kind") != "TokenReview":
        raise BadRequest("Expected a TokenReview with a spec, found something else.")
    if asked.get("apiVersion") not in _VERSIONS:
        raise BadRequest(
            f"Expected apiVersion {' or '.join(_VERSIONS)}, found {asked.get('apiVersion')!r}.",
            "Start the API server with --authentication-token-webhook-version=v1.",
        )
    return dict(asked)


def _identity(session: Session) -> dict[str, Any]:
    groups = ["hpecp:users"]
    if session.tenant and session.role:
        groups.append(group_of(session.tenant.namespace, session.role))
    if session.user.is_site_admin:
        groups.append("hpecp:site-admins")
    return {
        "authenticated": True,
        "user": {"username": session.user.name, "uid": str(session.user.id), "groups": groups},
    }
