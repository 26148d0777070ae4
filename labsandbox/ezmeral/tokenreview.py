"""Answer the API server's question whose token this is (TokenReview v1)."""

from __future__ import annotations

import hmac
from typing import Any

from aiohttp import web

from labsandbox.ezmeral.accounts import ROLES, Accounts, Session


def group_of(namespace: str, role: int) -> str:
    """Return the RBAC group of everybody with this role in the tenant of that namespace."""
    return f"hpecp:{namespace}:{ROLES[role].lower().replace(' ', '-')}"


def handler(accounts: Accounts, secret: str) -> Any:
    """Return the request handler; only who knows `secret` may ask."""

    async def review(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given, f"Bearer {secret}"):
            return web.json_response({"message": "Only the API server may ask."}, status=401)
        asked = await request.json()
        session = accounts.session_of_token(str(asked.get("spec", {}).get("token", "")))
        return web.json_response(
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "status": _identity(session) if session else {"authenticated": False},
            }
        )

    return review


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
