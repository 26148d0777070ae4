"""Mutating and validating admission webhooks."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonpatch

from labsandbox.apiserver.admission.caller import Caller, CallFailed
from labsandbox.apiserver.admission.collection import Collections
from labsandbox.apiserver.admission.conditions import ConditionFailed, meets_conditions
from labsandbox.apiserver.admission.plugin import Quiet
from labsandbox.apiserver.admission.request import DELETE, Request
from labsandbox.apiserver.admission.review import BadAnswer, Verdict, ask, read
from labsandbox.apiserver.admission.rules import GROUP, find_version, is_exempt, is_selected
from labsandbox.apiserver.status import StatusError, bad_request, internal_error

if TYPE_CHECKING:
    from labsandbox.apiserver.api import Api
    from labsandbox.apiserver.registry import ResourceDef

Json = dict[str, Any]
TIMEOUT = 10
HARMLESS = ("None", "NoneOnDryRun")


class Unreachable(Exception):
    """The webhook gave no usable answer; its failurePolicy decides what that means."""


@dataclass(frozen=True)
class Match:
    """A webhook that wants to see a request, and in which version."""

    hook: Json
    version: ResourceDef


class Webhooks(Quiet):
    """What both kinds of webhook share: choosing, calling, reading the verdict."""

    keys = None
    plural = ""

    def __init__(self, api: Api, stock: Collections, caller: Caller | None = None) -> None:
        self._api = api
        self._stock = stock
        self._caller = caller or Caller(api, stock)

    async def close(self) -> None:
        """Close the connections."""
        await self._caller.close()

    def _matches(self, request: Request) -> Iterator[Match]:
        configurations = self._stock.list(GROUP, self.plural)
        if not configurations or is_exempt(request):
            return
        for configuration in configurations:
            for hook in configuration.get("webhooks") or ():
                found = self._match(hook, request)
                if found is not None:
                    yield found

    def _match(self, hook: Json, request: Request) -> Match | None:
        if not is_selected(hook, request, self._stock):
            return None
        is_exact = hook.get("matchPolicy") == "Exact"
        version = find_version(hook.get("rules") or [], request, self._api, is_exact=is_exact)
        if version is None:
            return None
        return Match(hook, version)

    async def _ask(self, match: Match, request: Request, *, may_patch: bool) -> Verdict | None:
        """Ask a webhook; None when it is to be ignored."""
        hook, name = match.hook, match.hook["name"]
        is_ignorable = hook.get("failurePolicy") == "Ignore"
        try:
            if not meets_conditions(hook.get("matchConditions") or [], request, self._stock):
                return None
        except ConditionFailed as error:
            if is_ignorable:
                return None
            raise request.refuse(str(error)) from error
        if request.dry_run and hook.get("sideEffects") not in HARMLESS:
            raise bad_request(f'admission webhook "{name}" does not support dry run')
        try:
            verdict = await self._call(match, request, may_patch=may_patch)
            # A kube-apiserver asks again when the object it read from its cache was not the newest.
            for _ in range(self._api.webhook_calls - 1):
                if verdict.is_allowed:
                    verdict = await self._call(match, request, may_patch=may_patch)
        except Unreachable as error:
            if is_ignorable:
                return None
            raise internal_error(f'failed calling webhook "{name}": {error}') from error
        request.warnings += verdict.warnings
        if not verdict.is_allowed:
            raise _denied(name, verdict.status)
        return verdict

    async def _call(self, match: Match, request: Request, *, may_patch: bool) -> Verdict:
        hook = match.hook
        if "v1" not in (hook.get("admissionReviewVersions") or ()):
            raise Unreachable("webhook does not accept known AdmissionReview versions (v1)")
        question = ask(request, match.version)
        timeout = int(hook.get("timeoutSeconds") or TIMEOUT)
        try:
            answer = await self._caller.post(hook.get("clientConfig") or {}, timeout, question)
            return read(answer, question["request"]["uid"], may_patch=may_patch)
        except CallFailed as error:
            raise Unreachable(f"failed to call webhook: {error}") from error
        except BadAnswer as error:
            raise Unreachable(f"received invalid webhook response: {error}") from error


class MutatingWebhooks(Webhooks):
    """Called one after the other; each sees what the others made."""

    plural = "mutatingwebhookconfigurations"

    async def call(self, request: Request) -> bool:
        """Call all; True when one of them changed the object."""
        is_changed = False
        for match in list(self._matches(request)):
            is_changed = await self._call_one(match, request) or is_changed
        return is_changed

    async def call_again(self, request: Request) -> None:
        """Call those once more that want to see what others changed after them."""
        for match in list(self._matches(request)):
            if match.hook.get("reinvocationPolicy") == "IfNeeded":
                await self._call_one(match, request)

    async def _call_one(self, match: Match, request: Request) -> bool:
        verdict = await self._ask(match, request, may_patch=True)
        if verdict is None or not verdict.patch:
            return False
        name = match.hook["name"]
        if request.operation == DELETE or request.object is None:
            raise internal_error(
                f'admission webhook "{name}" attempted to modify the object, which is not '
                "supported for this operation"
            )
        changed = _apply(verdict.patch, request.object, name)
        if match.version.version != request.resource.version:
            changed["apiVersion"] = request.object["apiVersion"]
        is_changed = changed != request.object
        request.object = changed
        return is_changed


class ValidatingWebhooks(Webhooks):
    """Called all at once; the first refusal is told."""

    plural = "validatingwebhookconfigurations"

    async def validate(self, request: Request) -> None:
        found = list(self._matches(request))
        if not found:
            return
        if len(found) == 1:
            await self._ask(found[0], request, may_patch=False)
            return
        answers = await asyncio.gather(
            *(self._ask(match, request, may_patch=False) for match in found),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer


def _apply(patch: list[Json], obj: Json, name: str) -> Json:
    document = copy.deepcopy(obj)
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("creationTimestamp", None)
    try:
        changed = jsonpatch.apply_patch(document, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        raise internal_error(f'jsonpatch of admission webhook "{name}" failed: {error}') from error
    if not isinstance(changed, dict):
        text = json.dumps(changed)[:80]
        raise internal_error(f'admission webhook "{name}" made {text} of the object')
    metadata = changed.get("metadata")
    if isinstance(metadata, dict) and metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    return changed


def _denied(name: str, status: Json) -> StatusError:
    """The refusal, with whatever Status the webhook gave."""
    start = f'admission webhook "{name}" denied the request'
    reason = str(status.get("reason") or "")
    text = str(status.get("message") or "") or reason
    message = f"{start}: {text}" if text else f"{start} without explanation"
    code = status.get("code")
    details = status.get("details")
    return StatusError(
        code if isinstance(code, int) and 400 <= code < 600 else 400,
        reason,
        message,
        details if isinstance(details, dict) else None,
    )
