"""Which models are served: what is loaded, what is wanted, and how one becomes the other.

A slot belongs to a ConfigMap. What a slot serves stays until its successor has loaded; a
successor that does not load leaves it there and its reason in the slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labapps.deployment.batcher import Batcher
from labapps.deployment.registered import Registered, address
from labapps.deployment.scripts import ScriptPool
from labapps.deployment.spec import ModelSpec, SpecError, read_spec
from labapps.forks.client import ForkError, Zygote
from labapps.member.configmeta import Configmeta
from labapps.member.place import Place
from labapps.web.asgi import Problem

__all__ = ["Registry", "Served", "Settings"]

log = logging.getLogger(__name__)
PRELOAD = "numpy,pandas,sklearn.ensemble,xgboost,joblib,skops.io,onnxruntime"


@dataclass(frozen=True)
class Settings:
    """What the environment may change."""

    timeout: float = 30.0
    load_timeout: float = 60.0
    body_limit: int = 16 << 20
    script_warm: int = 2
    script_limit: int = 4
    preload: tuple[str, ...] = ()

    @classmethod
    def from_env(cls) -> Settings:
        env = os.environ
        return cls(
            timeout=float(env.get("PREDICT_TIMEOUT", 30)),
            load_timeout=float(env.get("LOAD_TIMEOUT", 60)),
            body_limit=int(env.get("BODY_LIMIT", 16 << 20)),
            script_warm=int(env.get("SCRIPT_WARM", 2)),
            script_limit=int(env.get("SCRIPT_LIMIT", 4)),
            preload=tuple(m for m in env.get("DEPLOYMENT_PRELOAD", PRELOAD).split(",") if m),
        )


@dataclass
class Served:
    """A loaded model that answers."""

    spec: ModelSpec
    backend: Batcher | ScriptPool
    since: float = field(default_factory=time.time)
    seconds: float = 0.0


@dataclass
class Slot:
    """What a ConfigMap wants and what is served for it."""

    served: Served | None = None
    wanted: str = ""
    error: str = ""


class Registry:
    """Every model of this RESTServer."""

    def __init__(
        self, place: Place, zygote: Zygote, settings: Settings, registered: Registered
    ) -> None:
        self.place, self.zygote, self.settings = place, zygote, settings
        self.registered = registered
        self.slots: dict[str, Slot] = {}
        self.index: dict[tuple[str, str], Served] = {}
        self.loading: dict[tuple[str, str], asyncio.Event] = {}
        self.applied = asyncio.Event()
        self.closing: set[asyncio.Task[None]] = set()
        self.meta: Configmeta | None = None
        self._one = asyncio.Lock()
        self.on_batch: Callable[[str, int], None] = lambda label, size: None
        self.on_restart: Callable[[str], None] = lambda label: None
        self.on_complaint: Callable[[str, str], None] = lambda configmap, text: None

    def find(self, name: str, version: str) -> Served | None:
        return self.index.get((name, version))

    async def await_model(self, name: str, version: str) -> Served:
        """Return a model, waiting for one that is loading; 404 lists those there are."""
        if not self.applied.is_set():  # just started: what is served is not known yet
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.applied.wait(), self.settings.load_timeout)
        found = self.index.get((name, version))
        if found is None:
            event = self.loading.get((name, version))
            if event is not None:
                await asyncio.wait_for(event.wait(), self.settings.load_timeout)
                found = self.index.get((name, version))
        if found is None:
            wrong = [s.error for s in self.slots.values() if s.wanted == f"{name}/{version}"]
            problem = Problem(
                404,
                f"No model {name}/{version} is served here."
                + (f" {wrong[0]}" if wrong and wrong[0] else ""),
                models=sorted(f"{n}/{v}" for n, v in self.index),
                expected="a ConfigMap with label kubedirector.hpe.com/cmType: model, keys name and "
                "model-version, named in spec.connections.configmaps of this cluster",
            )
            # Another server may have read the new configuration already: the balancer asks it.
            problem.headers.append((b"x-model", b"unknown"))
            raise problem
        return found

    async def apply(self, meta: Configmeta) -> list[str]:
        """Serve what the configmeta wants; return what is wrong with it."""
        async with self._one:
            self.meta = meta
            return await self._apply(meta)

    async def follow(self) -> None:
        """Serve what the aliases of a model registry mean, whenever one moves, for ever."""
        while True:
            if await self.registered.moved():
                async with self._one:
                    if self.meta is not None:
                        await self._apply(self.meta)

    async def _apply(self, meta: Configmeta) -> list[str]:
        await self.registered.connect(meta)
        wanted: dict[str, ModelSpec] = {}
        owners: dict[tuple[str, str], str] = {}
        present: set[str] = set()
        for configmap in meta.configmaps("model"):
            title = str((configmap.get("metadata") or {}).get("name") or "?")
            present.add(title)
            slot = self.slots.setdefault(title, Slot())
            data = configmap.get("data") or {}
            slot.wanted = f"{data.get('name')}/{data.get('model-version')}"
            try:
                if data.get("model-uri"):
                    slot.wanted = "/".join(address(configmap))
                    spec = await self.registered.spec(configmap, meta)
                else:
                    spec = await asyncio.to_thread(read_spec, configmap, self.place)
                other = owners.setdefault(spec.key, title)
                if other != title:
                    raise SpecError(
                        f"ConfigMap {title}: {spec.label} is already served for ConfigMap {other}; "
                        "give it another model-version."
                    )
            except (SpecError, OSError) as error:
                self._complain(title, slot, str(error))
                continue
            wanted[title] = spec
        for title in [t for t in self.slots if t not in present]:
            self._remove(title)
        todo = [
            (title, spec)
            for title, spec in wanted.items()
            if not self._is_served(self.slots[title], spec)
        ]
        for _, spec in todo:
            self.loading.setdefault(spec.key, asyncio.Event())
        limit = asyncio.Semaphore(2)
        await asyncio.gather(*(self._load(title, spec, limit) for title, spec in todo))
        self.applied.set()
        return [slot.error for slot in self.slots.values() if slot.error]

    def _is_served(self, slot: Slot, spec: ModelSpec) -> bool:
        same = slot.served is not None and slot.served.spec == spec
        if same:
            slot.error = ""
        return same

    async def _load(self, title: str, spec: ModelSpec, limit: asyncio.Semaphore) -> None:
        slot = self.slots[title]
        try:
            async with limit:
                began = time.perf_counter()
                backend = self._backend(spec)
                try:
                    await backend.start()
                except (SpecError, ForkError) as error:
                    self._complain(title, slot, f"ConfigMap {title}: {error}")
                    self._close(backend)
                    return
                old, slot.served = slot.served, Served(spec, backend)
                slot.served.seconds = round(time.perf_counter() - began, 3)
                slot.error = ""
                replaced = self.index.get(spec.key)
                self.index[spec.key] = slot.served
                for gone in (old, replaced):
                    if gone is not None and gone is not slot.served:
                        if self.index.get(gone.spec.key) is gone:
                            del self.index[gone.spec.key]
                        self._close(gone.backend)
                note = str(backend.about.get("note") or "")
                version = f" is version {spec.registered} and" if spec.registered else ""
                log.info(
                    "%s%s serves in %.2f s (%s, %s)%s",
                    spec.label,
                    version,
                    slot.served.seconds,
                    spec.format,
                    spec.contract,
                    f": {note}" if note else "",
                )
        finally:
            event = self.loading.pop(spec.key, None)
            if event is not None:
                event.set()

    def _backend(self, spec: ModelSpec) -> Batcher | ScriptPool:
        settings, mappings = self.settings, self.place.mappings()
        if spec.contract == "script":
            return ScriptPool(
                spec,
                self.zygote,
                mappings,
                timeout=settings.timeout,
                warm=settings.script_warm,
                limit=settings.script_limit,
            )
        return Batcher(
            spec,
            self.zygote,
            mappings,
            timeout=settings.timeout,
            load_timeout=settings.load_timeout,
            on_batch=lambda size: self.on_batch(spec.label, size),
            on_restart=lambda: self.on_restart(spec.label),
        )

    def _remove(self, title: str) -> None:
        slot = self.slots.pop(title)
        if slot.served is not None:
            key = slot.served.spec.key
            if self.index.get(key) is slot.served:
                del self.index[key]
            log.info("%s is no longer connected; it ends", slot.served.spec.label)
            self._close(slot.served.backend)

    def _complain(self, title: str, slot: Slot, text: str) -> None:
        if text != slot.error:
            kept = f" {slot.served.spec.label} keeps serving." if slot.served else ""
            log.error("%s%s", text, kept)
            slot.error = text
            self.on_complaint(title, text + kept)

    def _close(self, backend: Batcher | ScriptPool) -> None:
        task = asyncio.get_running_loop().create_task(backend.close())
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    async def close(self) -> None:
        """End every worker."""
        for title in list(self.slots):
            self._remove(title)
        await self.registered.close()
        await asyncio.gather(*self.closing, return_exceptions=True)

    def describe(self) -> list[dict[str, Any]]:
        """Tell what is served and what is wrong, a line for each ConfigMap."""
        lines = []
        for title, slot in sorted(self.slots.items()):
            line: dict[str, Any] = {"configmap": title, "wanted": slot.wanted, "error": slot.error}
            if slot.served is None:
                line["status"] = "broken" if slot.error else "loading"
            else:
                spec, backend = slot.served.spec, slot.served.backend
                line |= {
                    "status": "serving, successor broken" if slot.error else "serving",
                    "name": spec.name,
                    "version": spec.version,
                    "description": spec.description,
                    "format": spec.format,
                    "contract": spec.contract,
                    "features": backend.about.get("features", []),
                    "note": backend.about.get("note", ""),
                    "load_seconds": slot.served.seconds,
                    "predict": f"/{spec.name}/{spec.version}/predict",
                }
                if spec.uri:
                    line |= {"uri": spec.uri, "registered": spec.registered, "sha256": spec.digest}
            lines.append(line)
        return lines
