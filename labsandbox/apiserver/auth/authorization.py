"""May this user do this? Also acting as somebody else, which is itself something one may do."""

from __future__ import annotations

import re
from urllib.parse import unquote

from labsandbox.apiserver.auth.rbac import Attributes, Decision, Rbac
from labsandbox.apiserver.auth.user import AUTHENTICATED, UNAUTHENTICATED, User
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.status import StatusError

_NAMED = re.compile(r"(?:^|,)metadata\.name==?([A-Za-z0-9][^,%/]*)(?=,|$)")
"""A list of one object by name is asked for by that name: rules may name it too."""


class ImpersonationError(Exception):
    """The headers make no sense together; answered as plain text, as the server does."""


def attributes_of(request: Request) -> Attributes:
    """What a request asks for."""
    if not request.resource:
        return Attributes(request.method.lower(), path=request.path)
    name = request.name
    if not name and request.verb in ("list", "watch"):
        found = _NAMED.search(request.first("fieldSelector"))
        name = found.group(1) if found else ""
    return Attributes(
        request.verb,
        request.group,
        request.resource,
        request.subresource,
        request.namespace,
        name,
        version=request.version,
    )


def refusal(user: User, attributes: Attributes, decision: Decision) -> StatusError:
    """403 that names the user, the verb and the resource, and nothing else."""
    if attributes.path:
        message = f'forbidden: User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
        if decision.reason:
            message += f": {decision.reason}"
        return StatusError(403, "Forbidden", message, {})
    where = f'in the namespace "{attributes.namespace}"'
    if not attributes.namespace:
        where = "at the cluster scope"
    resource = f"{attributes.resource}.{attributes.group}" if attributes.group else (
        attributes.resource
    )  # fmt: skip
    shown = f'{resource} "{attributes.name}"' if attributes.name else resource
    message = (
        f'{shown} is forbidden: User "{user.name}" cannot {attributes.verb} resource '
        f'"{attributes.full_resource}" in API group "{attributes.group}" {where}'
    )
    if decision.reason:
        message += f": {decision.reason}"
    details = {}
    if attributes.name:
        details["name"] = attributes.name
    if attributes.group:
        details["group"] = attributes.group
    details["kind"] = attributes.resource
    return StatusError(403, "Forbidden", message, details)


def check(rbac: Rbac, user: User, attributes: Attributes) -> None:
    """Raise the 403 of a request that is not allowed."""
    decision = rbac.authorize(user, attributes)
    if not decision.allowed:
        raise refusal(user, attributes, decision)


def impersonated(rbac: Rbac, user: User, request: Request) -> User:
    """The user a request acts as: the caller, or whom its headers name, if the caller may."""
    headers = request.headers
    name = headers.get("impersonate-user", "")
    groups = [
        value.decode("latin-1")
        for key, value in request.scope["headers"]
        if key == b"impersonate-group"
    ]
    uid = headers.get("impersonate-uid", "")
    extra: dict[str, list[str]] = {}
    for key, value in request.scope["headers"]:
        if key.startswith(b"impersonate-extra-"):
            field = unquote(key.decode("latin-1").removeprefix("impersonate-extra-"))
            extra.setdefault(field, []).append(value.decode("latin-1"))
    if not name and not groups and not uid and not extra:
        return user
    if not name:
        raise ImpersonationError(_without_user(groups, uid, extra))
    _check_all(rbac, user, name, groups, uid, extra)
    return User(name, tuple(_with_system_groups(name, groups)), uid, extra)


def _without_user(groups: list[str], uid: str, extra: dict[str, list[str]]) -> str:
    wanted = " ".join(f"{{Group  {group}    }}" for group in groups)
    if uid:
        wanted = f"{wanted} {{UID  {uid}  authentication.k8s.io/v1  }}".strip()
    for field, values in extra.items():
        for value in values:
            shown = f"{{UserExtra  {value}  authentication.k8s.io/v1  {field}}}"
            wanted = f"{wanted} {shown}".strip()
    return f"requested [{wanted}] without impersonating a user"


def _check_all(
    rbac: Rbac, user: User, name: str, groups: list[str], uid: str, extra: dict[str, list[str]]
) -> None:
    service = name.split(":")
    if name.startswith("system:serviceaccount:") and len(service) == 4:
        check(
            rbac, user,
            Attributes("impersonate", "", "serviceaccounts", "", service[2], service[3]),
        )  # fmt: skip
    else:
        check(rbac, user, Attributes("impersonate", "", "users", name=name))
    for group in groups:
        check(rbac, user, Attributes("impersonate", "", "groups", name=group))
    review = "authentication.k8s.io"
    if uid:
        check(rbac, user, Attributes("impersonate", review, "uids", name=uid))
    for field, values in extra.items():
        for value in values:
            attributes = Attributes("impersonate", review, "userextras", field, name=value)
            check(rbac, user, attributes)


def _with_system_groups(name: str, groups: list[str]) -> list[str]:
    found = list(groups)
    service = name.split(":")
    if name.startswith("system:serviceaccount:") and len(service) == 4 and not groups:
        found = ["system:serviceaccounts", f"system:serviceaccounts:{service[2]}"]
    if name == "system:anonymous":
        if UNAUTHENTICATED not in found:
            found.append(UNAUTHENTICATED)
    elif AUTHENTICATED not in found and UNAUTHENTICATED not in found:
        found.append(AUTHENTICATED)
    return found
