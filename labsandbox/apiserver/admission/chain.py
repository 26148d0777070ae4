"""The plugins in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsandbox.apiserver.admission.account import ServiceAccount
from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.defaults import (
    ClaimResize,
    DefaultIngressClass,
    DefaultStorageClass,
    DefaultTolerations,
    InUseProtection,
    NodeTaints,
    RuntimeClass,
)
from labsandbox.apiserver.admission.limits import LimitRanger
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.policy import Policies
from labsandbox.apiserver.admission.priority import Priority
from labsandbox.apiserver.admission.quota import ResourceQuota
from labsandbox.apiserver.admission.request import Request
from labsandbox.apiserver.admission.security import PodSecurity
from labsandbox.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api

Json = dict[str, Any]


class Chain:
    """Admission as a whole."""

    def __init__(self, api: Api) -> None:
        stock = Collections(api)
        self._plain: tuple[Quiet, ...] = (
            LimitRanger(stock),
            ServiceAccount(api, stock),
            NodeTaints(),
            PodSecurity(api, stock),
            Priority(stock),
            DefaultTolerations(),
            DefaultStorageClass(stock),
            InUseProtection(),
            ClaimResize(stock),
            RuntimeClass(stock),
            DefaultIngressClass(stock),
        )
        self._mutating = MutatingWebhooks(api, stock)
        self._last: tuple[Quiet, ...] = (
            Policies(api, stock),
            ValidatingWebhooks(api, stock),
            ResourceQuota(api, stock),
        )
        self._by_key: dict[str, tuple[Quiet, ...]] = {}

    async def mutate(self, request: Request) -> Json | None:
        """Let the plugins change the object; returns it."""
        plain = self._plain_for(request)
        for plugin in plain:
            await plugin.mutate(request)
        if await self._mutating.call(request):
            for plugin in plain:
                await plugin.mutate(request)
            await self._mutating.call_again(request)
        return request.object

    async def validate(self, request: Request) -> None:
        """Let the plugins refuse the object as it would be stored."""
        for plugin in self._plain_for(request):
            await plugin.validate(request)
        for plugin in self._last:
            if plugin.keys is None or request.key in plugin.keys:
                await plugin.validate(request)

    async def admit(self, request: Request) -> Json | None:
        """Both steps at once, for writes that nothing completes in between."""
        changed = await self.mutate(request)
        await self.validate(request)
        return changed

    async def close(self) -> None:
        """Close the connections to webhooks."""
        await self._mutating.close()

    def _plain_for(self, request: Request) -> tuple[Quiet, ...]:
        found = self._by_key.get(request.key)
        if found is None:
            found = tuple(one for one in self._plain if one.keys is None or request.key in one.keys)
            self._by_key[request.key] = found
        return found
