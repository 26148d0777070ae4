"""Registered models: those of the connected MLflow, under the names of this API."""

from __future__ import annotations

import asyncio
from typing import Any

from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import Bench
from labapps.workbench.page import listed
from labapps.workbench.refusal import Refusal, forbidden, invalid
from labapps.workbench.store import Record, moment_of
from labapps.workbench.tracking import Tracking

__all__ = ["TARGET", "Registry", "parse"]

TARGET = "registered.py:predict"

FIELDS = ("project_id", "experiment_id", "run_id", "model_path", "model_name", "name", "tags",
          "notes", "visibility")  # fmt: skip


class Registry:
    """The handlers of registered models.

    A model's id is its name in MLflow, a version's id `<name>:<number>`.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def routes(self) -> list[Route]:
        all_, one = "/registry/models", "/registry/models/{model_id}"
        version = one + "/versions/{version_id}"
        return [
            Route("POST", all_, "create_registered_model",
                  "Register a run's model; a known name gets a version", self.create, FIELDS),
            Route("GET", all_, "list_registered_models", "List registered models", self.list,
                  is_list=True),
            Route("GET", one, "get_registered_model", "Return one with its versions", self.get),
            Route("PATCH", one, "update_registered_model", "Change its notes", self.patch,
                  ("notes",)),
            Route("DELETE", one, "delete_registered_model", "Delete it", self.delete),
            Route("GET", version, "get_registered_model_version", "Return a version",
                  self.version),
            Route("DELETE", version, "delete_registered_model_version", "Delete a version",
                  self.delete_version),
        ]  # fmt: skip

    def tracking(self) -> Tracking:
        return Tracking(self.bench.connected)

    async def create(self, ask: Ask) -> Record:
        tracking = self.tracking()
        project = ask.text("project_id", "")
        if project:
            ask.params = {**ask.params, "project_id": project}
            self.bench.project(ask, "write")
        else:
            self._administer(ask)
        name = ask.text("model_name", "") or ask.text("name")
        run, path = ask.text("run_id"), ask.text("model_path", "model").strip("/")
        if ".." in path.split("/"):
            raise invalid(f"model_path is a path within the run, such as model; found {path!r}.")
        found = (await tracking.ask("GET", "runs/get", run_id=run))["run"]
        logged = await tracking.logged_model(found, path)
        tags = tags_of(ask)
        try:
            notes = ask.text("notes", "")
            await tracking.ask("POST", "registered-models/create", name=name, description=notes)
        except Refusal as error:
            if "already exists" not in str(error):
                raise
        # As MLflow's own client does: by a path in the run its loaders do not find such a model.
        source = f"models:/{logged}" if logged else f"runs:/{run}/{path}"
        more = {"model_id": logged} if logged else {}
        await tracking.ask("POST", "model-versions/create", name=name, source=source, run_id=run,
                           tags=tags, **more)  # fmt: skip
        return await self._view(tracking, name)

    async def list(self, ask: Ask) -> Any:
        tracking = self.tracking()
        models = await tracking.models()
        seen = await asyncio.gather(*(self._view(tracking, m["name"], m) for m in models))
        found, token = listed(list(seen), ask.page)
        return {"models": found, "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        return await self._view(self.tracking(), ask.params["model_id"])

    async def patch(self, ask: Ask) -> Record:
        self._administer(ask)
        tracking, name = self.tracking(), ask.params["model_id"]
        notes = ask.text("notes")
        await tracking.ask("PATCH", "registered-models/update", name=name, description=notes)
        return await self._view(tracking, name)

    async def delete(self, ask: Ask) -> Record:
        self._administer(ask)
        name = ask.params["model_id"]
        await self.tracking().ask("DELETE", "registered-models/delete", name=name)
        return {}

    async def version(self, ask: Ask) -> Record:
        name, number = self._named(ask)
        return view_version(await self.tracking().version(name, number))

    async def delete_version(self, ask: Ask) -> Record:
        self._administer(ask)
        name, number = self._named(ask)
        await self.tracking().ask("DELETE", "model-versions/delete", name=name, version=number)
        return {}

    def _named(self, ask: Ask) -> tuple[str, str]:
        name, given = ask.params["model_id"], ask.params["version_id"]
        return name, given.removeprefix(f"{name}:")

    def _administer(self, ask: Ask) -> None:
        if not ask.user.is_admin:
            raise forbidden(
                f"{ask.user.name} may not change the registry; the administrator's key may, and "
                "who sends the project_id of a project with the permission write may register."
            )

    async def _view(self, tracking: Tracking, name: str, model: Record | None = None) -> Record:
        model = model or await tracking.model(name)
        return {
            "model_id": name,
            "name": name,
            "notes": model.get("description") or "",
            "visibility": "public",
            "created_at": moment_of(model.get("creation_timestamp")),
            "updated_at": moment_of(model.get("last_updated_timestamp")),
            "tags": model.get("tags") or [],
            "model_versions": [view_version(v) for v in await tracking.versions(name)],
        }


def view_version(version: Record) -> Record:
    """Return a version as clients see it."""
    return {
        "model_version_id": f"{version['name']}:{version['version']}",
        "number": int(version["version"]),
        "status": version.get("status", ""),
        "run_id": version.get("run_id") or "",
        "notes": version.get("description") or "",
        "tags": version.get("tags") or [],
        "created_at": moment_of(version.get("creation_timestamp")),
    }


def parse(number: str) -> tuple[str, str]:
    """Return the name and the number of a version's id.

    >>> parse("wine:quality:3")
    ('wine:quality', '3')
    """
    name, colon, version = number.rpartition(":")
    if not (colon and name and version.isascii() and version.isdigit()):
        raise invalid(
            "registered_model_version_id must be a model_version_id of GET /registry/models, such "
            f"as fare:3; found {number!r}."
        )
    return name, version


def tags_of(ask: Ask) -> list[dict[str, str]]:
    """Return tags as MLflow takes them; an object of texts will do."""
    found = ask.body.get("tags") or []
    if isinstance(found, dict):
        found = [{"key": key, "value": value} for key, value in found.items()]
    plain = isinstance(found, list) and all(
        isinstance(tag, dict) and isinstance(tag.get("key"), str) for tag in found
    )
    if not plain:
        raise invalid('tags must be a list such as [{"key":"stage","value":"test"}].')
    return [{"key": tag["key"], "value": str(tag.get("value", ""))} for tag in found]
