"""The catalogue: what can be deployed, read from its folder in one place.

`kd-global-config.yaml` configures KubeDirector; `<application>/kdapp.yaml` is an application,
`<application>/shared/` what a tenant shares of it. `images.toml` and `<application>/image.toml` say
which program an image is on this machine; the node agent reads those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labsandbox.client import Client

Object = dict[str, Any]

_IN_USE = "cannot be deleted or modified"


class CatalogueError(Exception):
    """A folder is no catalogue."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One catalogue folder."""

    folder: Path

    def check(self) -> Catalogue:
        """Return the catalogue itself, or say what its folder lacks."""
        for pattern in ("images.toml", "*/kdapp.yaml"):
            if not any(self.folder.glob(pattern)):
                raise CatalogueError(
                    f"Expected a catalogue in {self.folder}, found no {pattern} in it. "
                    "Start from a copy of the checkout's folder catalog."
                )
        return self

    @property
    def images(self) -> Path:
        """Return the table of images."""
        return self.folder / "images.toml"

    def apps(self) -> list[Object]:
        """Return the applications."""
        files = [*self.folder.glob("*.yaml"), *self.folder.glob("*/kdapp.yaml")]
        return _manifests(files, "KubeDirectorApp")

    def config(self) -> Object:
        """Return the spec of kd-global-config; empty when the catalogue has none."""
        found = _manifests(self.folder.glob("*.yaml"), "KubeDirectorConfig")
        return dict(found[0].get("spec") or {}) if found else {}

    def shared(self) -> list[Object]:
        """Return the kdclusters that a tenant shares."""
        return _manifests(self.folder.glob("*/shared/*.yaml"), "KubeDirectorCluster")

    async def install(self, client: Client, namespace: str) -> None:
        """Put the applications into a namespace; one that is in use stays as it is."""
        await asyncio.gather(*(_install(client, app, namespace) for app in self.apps()))


OURS = Catalogue(Path(__file__).parents[1] / "catalog")


async def _install(client: Client, app: Object, namespace: str) -> None:
    # Imported late: what a catalogue is, the platform asks before it starts anything.
    from labsandbox.client import ApiError, create_or_replace
    from labsandbox.client.resources import KDAPPS

    meta = app["metadata"] | {"namespace": namespace}
    try:
        await create_or_replace(client, KDAPPS, app | {"metadata": meta})
    except ApiError as error:
        if _IN_USE not in error.message:
            raise


def _manifests(files: Iterable[Path], kind: str) -> list[Object]:
    from labsandbox import manifests  # the platform asks for images before it needs these

    return [
        document
        for file in sorted(files)
        for document in manifests.documents(file.read_text("utf-8"))
        if document and document.get("kind") == kind
    ]
