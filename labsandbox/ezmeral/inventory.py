"""What the platform consists of, for clients that ask: hosts, gateway, catalogue, licence, locks.

The laptop platform is one machine that is installed, licensed and unlocked from the beginning. So
these calls answer with that state, in the fields the `hpecp` client reads, and change nothing.
Other fields of the vendor's answers are not published and not made up here.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from labsandbox.catalogue import Catalogue
from labsandbox.ezmeral import views
from labsandbox.ezmeral.errors import BadRequest, NotFound
from labsandbox.ezmeral.rest import FrontDoor

Document = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]

_WORKERS, _HOSTS = "/api/v1/workers", "/api/v2/worker/k8shost"
_CATALOG, _DATACONN = "/api/v1/catalog", "/api/v1/dataconn"


class Inventory:
    """The documents and who may read them."""

    def __init__(self, door: FrontDoor, host: str, ca: Path, catalogue: Catalogue | None) -> None:
        self._door, self._host, self._ca, self._catalogue = door, host, ca, catalogue

    def add_to(self, app: web.Application) -> None:
        """Serve the documents."""
        collections = {
            _WORKERS: ("workers", self._workers, True),
            _HOSTS: ("k8shosts", self._hosts, True),
            _CATALOG: ("independent_catalog_entries", self._entries, False),
            _DATACONN: ("data_connectors", lambda: [], False),
        }
        for path, (plural, items, is_private) in collections.items():
            for slash in ("", "/"):
                app.router.add_get(
                    path + slash, self._listing(path, plural, items, is_private=is_private)
                )
            app.router.add_get(f"{path}/{{id:[0-9]+}}", self._item(items, is_private=is_private))
        documents = {
            "/api/v2/k8smanifest": (self._manifest, False),
            "/api/v2/hpelicense": (self._licences, True),
            "/api/v1/license": (self._licence, True),
            "/api/v1/lock": (self._locks, True),
            "/api/v1/install": (self._install, True),
        }
        for path, (document, is_private) in documents.items():
            for slash in ("", "/"):
                app.router.add_get(path + slash, self._single(document, is_private=is_private))
        for path in (*collections, *documents):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                app.router.add_route(method, f"{path}{{rest:.*}}", self._refuse)

    def _check(self, request: web.Request, is_private: bool) -> None:
        if is_private:
            self._door.require_site_admin(request)
        else:
            self._door.require_session(request)

    def _listing(
        self, path: str, plural: str, items: Callable[[], list[Document]], *, is_private: bool
    ) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self._check(request, is_private)
            return web.json_response(views.collection(path, plural, items()))

        return handler

    def _item(self, items: Callable[[], list[Document]], *, is_private: bool) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self._check(request, is_private)
            for item in items():
                if item["_links"]["self"]["href"] == request.path:
                    return web.json_response(item)
            raise NotFound(f"There is no {request.path}.")

        return handler

    def _single(self, document: Callable[[], Document], *, is_private: bool) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            self._check(request, is_private)
            return web.json_response(document())

        return handler

    async def _refuse(self, request: web.Request) -> web.Response:
        self._door.require_site_admin(request)
        raise BadRequest(
            f"{request.path} can be read and not changed: this platform is one machine, installed "
            "and licensed as it is.",
            "On a platform of several hosts send this to its own controller.",
        )

    def _workers(self) -> list[Document]:
        name = platform.node()
        return [
            {
                "_links": {"self": {"href": f"{_WORKERS}/1"}},
                "hostname": name,
                "ip": self._host,
                "proxy_nodes_hostname": self._host,
                "purpose": "proxy",
                "state": "installed",
                "status_info": "",
                "hacapable": False,
                "tags": [],
            }
        ]

    def _hosts(self) -> list[Document]:
        return [
            {
                "_links": {"self": {"href": f"{_HOSTS}/1"}},
                "status": "configured",
                "hostname": platform.node(),
                "ipaddr": self._host,
            }
        ]

    def _entries(self) -> list[Document]:
        found = []
        for number, app in enumerate(self._catalogue.apps() if self._catalogue else (), 1):
            spec = app["spec"]
            label = spec.get("label") or {}
            found.append(
                {
                    "_links": {"self": {"href": f"{_CATALOG}/{number}"}, "feed": []},
                    "label": {
                        "name": label.get("name", app["metadata"]["name"]),
                        "description": label.get("description", ""),
                    },
                    "distro_id": spec["distroID"],
                    "version": spec["version"],
                    "state": "installed",
                    "state_info": "",
                    "isdebug": False,
                }
            )
        return found

    def _manifest(self) -> Document:
        version = self._door.kubernetes_version
        return {
            "_links": {"self": {"href": "/api/v2/k8smanifest"}},
            "supported_versions": [version],
            "version_info": {version: {"addons": {}}},
        }

    def _licences(self) -> Document:
        return {
            "_links": {"self": {"href": "/api/v2/hpelicense"}},
            "valid": True,
            "LicenseKeys": [],
            "message": "The laptop platform needs no licence.",
        }

    def _licence(self) -> Document:
        # The platform's identifier: the same as long as its authority is the same.
        return {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, self._ca.read_text()))}

    def _locks(self) -> Document:
        return {
            "_links": {"self": {"href": "/api/v1/lock"}},
            "_embedded": {"internal_locks": [], "external_locks": []},
            "locked": False,
        }

    def _install(self) -> Document:
        return {
            "result": "Success",
            "objects": {"bds_global_version": views.GLOBAL_VERSION, "state": "installed"},
        }
