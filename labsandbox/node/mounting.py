"""Mount a pod's volumes, and keep those written from the API up to date while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp

from labsandbox import tree
from labsandbox.client import ApiError, ClientError
from labsandbox.client.resources import PVCS, PVS
from labsandbox.node import limits, volumes
from labsandbox.node.environment import ConfigError
from labsandbox.node.records import RUNNING
from labsandbox.node.roles import Pod
from labsandbox.node.volumes import MountError, TokenKey
from labsandbox.tree import Route

Object = dict[str, Any]

_RETRY_SECONDS, _LONGEST_WAIT = 2.0, 3600.0


class Mounter:
    """The volumes of one pod."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.folder = pod.folder / "volumes"

    async def mount(self) -> None:
        """Mount all volumes, waiting until what they need is there."""
        is_running = any(r.state == RUNNING for r in self.pod.record.containers.values())
        while True:
            problem = await self._mount_once()
            if problem is None or is_running:
                return
            self.pod.event("Warning", "FailedMount", problem)
            await self.pod.wait_for_config(_RETRY_SECONDS)

    async def _mount_once(self) -> str | None:
        """Mount what can be mounted; return what is wrong with the first that cannot."""
        problem = None
        tokens: dict[TokenKey, str] = {}
        try:
            tokens = await self._tokens()
        except (ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            problem = f"the service account token cannot be had: {error}"
        for volume in self.pod.pod["spec"].get("volumes") or []:
            name = volume["name"]
            try:
                self.pod.sources[name] = await self._source(volume, tokens)
            except (ConfigError, MountError, OSError, ClientError) as error:
                if (self.folder / name).exists():
                    # An adopted pod goes on with what it has.
                    self.pod.sources[name] = (str(self.folder / name),), False
                problem = f'MountVolume.SetUp failed for volume "{name}" : {error}'
        return problem

    async def _tokens(self) -> dict[TokenKey, str]:
        pod = self.pod.pod
        return {
            key: await self.pod.agent.tokens.get(pod, *key) for key in volumes.token_requests(pod)
        }

    async def _source(self, volume: Object, tokens: dict[TokenKey, str]) -> tuple[Route, bool]:
        agent, pod = self.pod.agent, self.pod.pod_with_address()
        kind = volumes.kind_of(volume)
        place = self.folder / volume["name"]
        if kind in volumes.WRITTEN:
            find = await agent.objects.finder(pod)
            allocatable = agent.surroundings.allocatable
            files = volumes.files_of(volume, pod, find, tokens, allocatable)
            limits.check_files(files, volume["name"])
            volumes.write_files(place, files)
            return (str(place),), False
        if kind == "emptyDir":
            place.mkdir(parents=True, exist_ok=True)
            return (str(place),), True
        if kind == "persistentVolumeClaim":
            source = volume[kind]
            folder = await self._claim(source["claimName"], pod["metadata"]["namespace"])
            return folder, not source.get("readOnly")
        if kind == "hostPath":
            path = Path(volume[kind]["path"])
            return volumes.permitted(path, agent.allowed_host_paths), True
        raise MountError(
            f"volumes of type {kind} are not available on this platform; use emptyDir, configMap, "
            "secret, projected, downwardAPI or persistentVolumeClaim"
        )

    async def _claim(self, name: str, namespace: str) -> Route:
        client = self.pod.agent.client
        claim = found = None
        with contextlib.suppress(ApiError):
            claim = await client.get(PVCS, name, namespace)
            if bound := (claim.get("spec") or {}).get("volumeName"):
                found = await client.get(PVS, bound)
        state = self.pod.agent.state
        allowed = [state / "projects" / namespace, state / "volumes"]
        return volumes.claim_folder(claim, name, lambda _: found, allowed)

    async def follow(self) -> None:
        """Write volumes again whenever their sources or tokens have changed, for ever."""
        kinds = {volumes.kind_of(v) for v in self.pod.pod["spec"].get("volumes") or []}
        if not kinds & set(volumes.WRITTEN):
            return
        while True:
            wait = self.pod.agent.tokens.next_renewal(self.pod.pod, _LONGEST_WAIT)
            await self.pod.wait_for_config(wait)
            await self._mount_once()


async def remove_trees(folders: list[Path]) -> None:
    """Remove folders without holding up anything else."""
    for folder in folders:
        await asyncio.to_thread(tree.remove, str(folder))
