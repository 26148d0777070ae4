"""From a path and a method to the code that answers."""

from __future__ import annotations

from labsandbox.apiserver import metrics
from labsandbox.apiserver.api import Api
from labsandbox.apiserver.auth.reviews import REVIEW_GROUPS, review
from labsandbox.apiserver.discovery.paths import answer_path
from labsandbox.apiserver.http.request import Request
from labsandbox.apiserver.http.response import Response, text
from labsandbox.apiserver.registry import ResourceDef
from labsandbox.apiserver.status import method_not_allowed, no_such_path
from labsandbox.apiserver.verbs.binding import bind
from labsandbox.apiserver.verbs.create import create
from labsandbox.apiserver.verbs.delete import delete, delete_collection
from labsandbox.apiserver.verbs.patch import patch
from labsandbox.apiserver.verbs.read import get, list_objects
from labsandbox.apiserver.verbs.subresources import subresource
from labsandbox.apiserver.verbs.update import update
from labsandbox.apiserver.watch.session import watch


def not_found_page() -> Response:
    return text(404, "404 page not found\n")


async def route(api: Api, request: Request) -> Response | None:
    """Answer a request; None when the answer was streamed."""
    if "//" in request.path:
        return not_found_page()
    request.check_timeout()
    if not request.resource:
        return await answer_path(api, request)
    if request.group == metrics.GROUP:
        metrics.refresh(api)
        return await metrics.respond(api, request)
    resource = api.catalog.find(request.group, request.version, request.resource)
    if resource is None or not _scope_fits(resource, request):
        is_custom = resource is not None and resource.custom is not None
        if is_custom or (request.group and not api.catalog.versions(request.group)):
            return not_found_page()
        raise no_such_path()
    if resource.custom is not None:
        warning = resource.custom.deprecation_warning(resource.version)
        if warning:
            request.warnings.append(warning)
    if resource.plural == "componentstatuses":
        request.warnings.append("v1 ComponentStatus is deprecated in v1.19+")
    if request.subresource:
        return await subresource(api, request, resource)
    return await _verb(api, request, resource)


def _scope_fits(resource: ResourceDef, request: Request) -> bool:
    if resource.plural == "namespaces" and not resource.group:
        return request.parts[0] == "namespaces" and request.path.count("/namespaces") == 1
    if resource.namespaced:
        return True
    return not request.namespace


async def _verb(api: Api, request: Request, resource: ResourceDef) -> Response | None:
    verb = request.verb
    named = bool(request.name)
    if request.method == "HEAD" or verb not in resource.verbs:
        raise method_not_allowed()
    if resource.namespaced and not request.namespace and verb not in ("list", "watch"):
        raise method_not_allowed() if not named else no_such_path()
    match verb:
        case "get":
            return await get(api, request, resource)
        case "list":
            return await list_objects(api, request, resource)
        case "watch":
            await watch(api, request, resource)
            return None
        case "create" if not named or resource.custom is not None:
            if resource.group in REVIEW_GROUPS:
                return await review(api, request, resource)
            if resource.plural == "bindings":
                return await bind(api, request, resource)
            return await create(api, request, resource)
        case "update" if named:
            return await update(api, request, resource)
        case "patch" if named:
            return await patch(api, request, resource)
        case "delete":
            return await delete(api, request, resource)
        case "deletecollection":
            return await delete_collection(api, request, resource)
    raise method_not_allowed()
