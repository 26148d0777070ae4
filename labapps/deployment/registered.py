"""Models that a ConfigMap names by a URI of MLflow's registry, as `models:/wine@champion`.

A version's files are copied beside this pod and compared with the digest that the server noted when
the version was registered. What does not fit is not loaded, and what was served goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from labapps.deployment.flavor import Flavor, FlavorError, choose
from labapps.deployment.spec import NEEDS, ModelSpec, SpecError, names
from labapps.deployment.tracking import Tracking, TrackingError, Version
from labapps.member.configmeta import Configmeta
from labapps.member.connected import mlflow_environment
from labapps.member.digest import folder_digest
from labapps.member.place import PathError, Place

__all__ = ["Registered", "Uri", "address"]

log = logging.getLogger(__name__)
FOLDER = "/run/labapps/models"
KEPT = 8
URI = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@]+)|/(?P<number>[1-9][0-9]*))")


@dataclass(frozen=True)
class Uri:
    """A model of the registry, and one of its aliases or versions."""

    text: str
    name: str
    alias: str = ""
    number: str = ""

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI.

        >>> Uri.parse("models:/wine@champion").alias, Uri.parse("models:/wine/3").number
        ('champion', '3')
        """
        found = URI.fullmatch(text)
        if found is None:
            raise SpecError(
                "key model-uri: expected models:/<name>@<alias>, which follows the alias, or "
                f"models:/<name>/<version>; found {text!r}."
            )
        parts = found.groupdict(default="")
        return cls(text, parts["name"], parts["alias"], parts["number"])


def address(configmap: dict[str, Any]) -> tuple[str, str]:
    """Return name and version in the address of a model, by default the URI's own words."""
    data = {k: str(v).strip() for k, v in (configmap.get("data") or {}).items()}
    name, version = data.get("name", ""), data.get("model-version", "")
    found = URI.fullmatch(data.get("model-uri", ""))
    if found is not None:
        name = name or found["name"]
        version = version or found["alias"] or found["number"]
    return name, version


class Registered:
    """The models of the connected tracking server."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.path(FOLDER)
        self.tracking: Tracking | None = None
        self.followed: dict[Uri, Version | None] = {}
        self.awaited = asyncio.Event()

    async def close(self) -> None:
        """End the connections."""
        if self.tracking is not None:
            await self.tracking.close()
            self.tracking = None

    async def connect(self, meta: Configmeta) -> None:
        """Talk to the server that is connected now, and follow nothing yet."""
        self.followed.clear()
        env = mlflow_environment(meta, self.place.path("/run/labapps"))
        wanted = env if env.get("MLFLOW_TRACKING_URI") else None
        if self.tracking is not None and self.tracking.env != wanted:
            await self.close()
        if self.tracking is None and wanted is not None:
            self.tracking = Tracking(wanted)

    async def spec(self, configmap: dict[str, Any], meta: Configmeta) -> ModelSpec:
        """Return what a ConfigMap's URI means at present, with the files in place."""
        title = str((configmap.get("metadata") or {}).get("name") or "?")
        data = {k: str(v).strip() for k, v in (configmap.get("data") or {}).items()}
        try:
            return await self._spec(title, data, *address(configmap))
        except (SpecError, FlavorError) as error:
            raise SpecError(f"ConfigMap {title}: {error}") from error
        except (TrackingError, OSError) as error:
            raise SpecError(f"ConfigMap {title}, {data['model-uri']}: {error}") from error

    async def _spec(self, title: str, data: dict[str, str], name: str, label: str) -> ModelSpec:
        extra = sorted({"path", "scoring-path"} & {key for key in data if data[key]})
        if extra:
            raise SpecError(f"expected model-uri or path, not both; found {', '.join(extra)}, too.")
        uri = Uri.parse(data["model-uri"])
        if "/" in name + label:
            raise SpecError("name and model-version become a URL: no '/' in them.")
        if self.tracking is None:
            raise SpecError(
                f"{uri.text} is of a model registry; found no connected tracking server. Add the "
                "mlflow cluster to spec.connections.clusters of this cluster, or a Secret with "
                "the label kubedirector.hpe.com/secretType: mlflow."
            )
        self.followed[uri] = None  # what fails on the way is tried again
        self.awaited.set()
        version = await self._version(uri)
        try:
            folder = await self._files(version, data.get("sha256") or version.digest)
        except SpecError:  # copying the same files again is no use
            self.followed[uri] = version
            raise
        self.followed[uri] = version
        digest = await asyncio.to_thread(folder_digest, folder)
        text = await asyncio.to_thread((folder / "MLmodel").read_bytes)
        flavor = choose(text, data.get("environment", ""))
        return _spec(title, data, name, label, uri, version, digest, flavor, folder)

    async def _version(self, uri: Uri) -> Version:
        assert self.tracking is not None
        try:
            return await self.tracking.version(uri.name, uri.number, uri.alias)
        except TrackingError as error:
            if error.lasting and uri.alias:
                raise TrackingError(
                    f"{error} Set the alias: "
                    f'MlflowClient().set_registered_model_alias("{uri.name}", "{uri.alias}", 1)'
                ) from error
            raise

    async def _files(self, version: Version, digest: str) -> Path:
        """Return a folder with the files of a version; SpecError when they were changed."""
        folder = self.folder / _key(version)
        for is_fresh in (False, True):
            if is_fresh or not folder.is_dir():
                await self._download(version, folder)
            found = await asyncio.to_thread(folder_digest, folder)
            if digest in ("", found):
                return folder
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise SpecError(
            f"the files of {version.name} version {version.number} have the digest {found}; "
            f"expected {digest}, which was noted at their registration. They were changed since: "
            "find out by whom, and register the model again."
        )

    async def _download(self, version: Version, folder: Path) -> None:
        assert self.tracking is not None
        location = await self.tracking.location(version)
        draft = folder.with_suffix(".new")
        await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        draft.mkdir(parents=True)
        source = self._local(location)
        if source is None:
            await self.tracking.download(location, draft)
        else:
            await asyncio.to_thread(shutil.copytree, source, draft, dirs_exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        draft.rename(folder)
        await asyncio.to_thread(self._forget)

    def _local(self, location: str) -> Path | None:
        """Return the folder of the project repository that a URI means."""
        parts = urlsplit(location)
        if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
            return None
        try:
            return self.place.resolve(unquote(parts.path))
        except PathError as error:
            raise TrackingError(str(error), lasting=True) from error

    def _forget(self) -> None:
        """Remove the oldest copies; what is loaded needs its files no more."""
        folders = sorted(self.folder.iterdir(), key=lambda one: one.stat().st_mtime_ns)
        for old in folders[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    async def moved(self) -> bool:
        """Wait until an alias may have moved; tell whether one of those that are served did."""
        await self.awaited.wait()
        if self.tracking is None or not self.followed:
            self.awaited.clear()
            return False
        await self.tracking.news()
        for uri, known in list(self.followed.items()):
            if known is None:
                return True
            if uri.alias and self.tracking is not None:
                try:
                    if await self.tracking.version(uri.name, alias=uri.alias) != known:
                        return True
                except TrackingError as error:
                    log.warning("%s: %s", uri.text, error)
                    await asyncio.sleep(1.0)
        return False


def _key(version: Version) -> str:
    """Return a name for the folder of a version, whatever the model is called."""
    text = "\0".join((version.name, version.number, version.digest))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _spec(
    title: str,
    data: dict[str, str],
    name: str,
    label: str,
    uri: Uri,
    version: Version,
    digest: str,
    flavor: Flavor,
    folder: Path,
) -> ModelSpec:
    path = folder / flavor.file
    if not path.is_file():
        raise FlavorError(f"Its MLmodel names the file {flavor.file}, and there is none.")
    return ModelSpec(
        configmap=title,
        name=name,
        version=label,
        description=data.get("description", ""),
        path=str(path),
        scoring="",
        format=flavor.format,
        contract="native",
        features=names(title, "features", data.get("features", "")),
        needs=tuple(NEEDS[flavor.format]),
        stamp=(),
        uri=uri.text,
        registered=version.number,
        digest=digest,
        trusted=names(title, "trusted-types", data.get("trusted-types", "")),
        booster=flavor.kind,
        columns=flavor.columns,
        environment=data.get("environment", ""),
    )
