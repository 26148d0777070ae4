"""Why is this kdcluster not doing what it should? The facts as data, for `labsandbox doctor`.

Needs nothing but a client, so it works while the operator is down, which is one of the answers.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from dataclasses import dataclass, field

import aiohttp

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import EVENTS, KDCLUSTERS, MUTATINGWEBHOOKS, PODS
from labsandbox.kubedirector.install import HARD, PATH, WEBHOOK
from labsandbox.kubedirector.model import (
    CONFIG_ERROR,
    CONFIGURED,
    CREATE_PENDING,
    CREATING,
    LABEL_CLUSTER,
    Object,
)

_EVENTS = 10
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """How a member is, and what its start script said last."""

    role: str
    pod: str
    state: str
    container: str
    problem: str
    stdout: str
    stderr: str
    pod_phase: str
    pod_reason: str


@dataclass(frozen=True, slots=True)
class EventFacts:
    """Something that was reported."""

    when: str
    kind: str  # Normal or Warning
    reason: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What is known of a kdcluster, and what to do about it."""

    namespace: str
    name: str
    state: str
    ready: str
    is_fine: bool
    flags: list[str] = field(default_factory=list)
    members: list[MemberFacts] = field(default_factory=list)
    events: list[EventFacts] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WebhookFacts:
    """Whether the API server's questions about kdclusters can be answered."""

    url: str
    is_reachable: bool
    detail: str


async def diagnose(client: Client, namespace: str, name: str) -> ClusterFacts:
    """Return the facts about one kdcluster; ApiError when there is none."""
    cluster = await client.get(KDCLUSTERS, name, namespace)
    pods = await client.list(PODS, namespace, labels=f"{LABEL_CLUSTER}={name}")
    events = await client.list(EVENTS, namespace, fields=f"involvedObject.name={name}")
    names = {pod["metadata"]["name"] for pod in pods}
    if names and not _is_fine(cluster):
        everything = await client.list(EVENTS, namespace)
        events += [e for e in everything if e["involvedObject"].get("name") in names]
    return describe(cluster, pods, events)


async def diagnose_all(client: Client) -> list[ClusterFacts]:
    """Return the facts about every kdcluster that is not as it should be."""
    clusters = [each for each in await client.list(KDCLUSTERS) if not _is_fine(each)]
    places = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in clusters]
    return list(await asyncio.gather(*(diagnose(client, *place) for place in places)))


async def check_webhook(client: Client) -> WebhookFacts:
    """Try the operator's webhook as the API server does: its address, its certificate."""
    try:
        found = await client.get(MUTATINGWEBHOOKS, WEBHOOK)
    except ApiError as error:
        if not error.is_not_found:
            raise
        detail = "no webhook is registered: the operator has not started yet"
        return WebhookFacts("", False, detail)
    config: Object = next((w["clientConfig"] for w in found["webhooks"] if w["name"] == HARD), {})
    url = str(config.get("url") or "").removesuffix(PATH) + "/healthz"
    try:
        bundle = base64.b64decode(config.get("caBundle") or "").decode()
        context = ssl.create_default_context(cadata=bundle)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, ssl=context) as answer,
        ):
            return WebhookFacts(url, answer.status == 200, f"answers with {answer.status}")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, binascii.Error) as error:
        detail = str(error) or type(error).__name__
        return WebhookFacts(url, False, f"does not answer: {detail}")


def describe(cluster: Object, pods: list[Object], events: list[Object]) -> ClusterFacts:
    """Put the facts about a kdcluster together."""
    meta, status = cluster["metadata"], cluster.get("status") or {}
    by_name = {pod["metadata"]["name"]: pod for pod in pods}
    members = [
        _describe_member(role["id"], member, by_name.get(member["pod"]))
        for role in status.get("roles") or []
        for member in role.get("members") or []
    ]
    flags = [name for name, value in (status.get("memberStateRollup") or {}).items() if value]
    return ClusterFacts(
        namespace=meta["namespace"],
        name=meta["name"],
        state=status.get("state") or "not seen by the operator",
        ready=status.get("readyMembers") or "0/0",
        is_fine=_is_fine(cluster),
        flags=flags,
        members=members,
        events=_latest(events),
        hints=_hints(cluster, members),
    )


def _is_fine(cluster: Object) -> bool:
    status = cluster.get("status") or {}
    rollup = status.get("memberStateRollup") or {}
    is_current = status.get("observedGeneration") == cluster["metadata"].get("generation")
    return status.get("state") == CONFIGURED and is_current and not any(rollup.values())


def _describe_member(role: str, member: Object, pod: Object | None) -> MemberFacts:
    detail = member.get("stateDetail") or {}
    status = (pod or {}).get("status") or {}
    return MemberFacts(
        role=role,
        pod=member["pod"],
        state=member["state"],
        container=detail.get("lastKnownContainerState") or "unknown",
        problem=next(
            filter(
                None,
                (
                    detail.get("configErrorDetail"),
                    detail.get("schedulingErrorMessage"),
                    detail.get("containerMessage"),
                ),
            ),
            "",
        ),
        stdout=detail.get("startScriptStdoutMessage") or "",
        stderr=detail.get("startScriptStderrMessage") or "",
        pod_phase=status.get("phase") or ("absent" if pod is None else "unknown"),
        pod_reason=_reason(status),
    )


def _reason(status: Object) -> str:
    for container in status.get("containerStatuses") or []:
        for word in ("waiting", "terminated"):
            state = (container.get("state") or {}).get(word)
            if state:
                return " ".join(filter(None, (state.get("reason"), state.get("message"))))
    return str(status.get("message") or status.get("reason") or "")


def _latest(events: list[Object]) -> list[EventFacts]:
    found = [
        EventFacts(
            when=str(event.get("lastTimestamp") or event.get("eventTime") or ""),
            kind=event.get("type") or "Normal",
            reason=event.get("reason") or "",
            message=event.get("message") or "",
            count=int(event.get("count") or 1),
        )
        for event in events
    ]
    return sorted(found, key=lambda event: event.when)[-_EVENTS:]


def _hints(cluster: Object, members: list[MemberFacts]) -> list[str]:
    meta, status = cluster["metadata"], cluster.get("status") or {}
    place = f"-n {meta['namespace']}"
    if not status:
        return ["The operator has not seen it yet: type `labsandbox logs` to see why."]
    if (status.get("restoreProgress") or {}).get("error"):
        return [
            "It was made from a dump of another one and waits for its parts. Delete it with the "
            "label kubedirector.hpe.com/allow-delete-while-restoring, remove the annotation "
            "status-backup-exists from the manifest and apply it again."
        ]
    hints = []
    for member in members:
        where = f"kubectl logs {place} {member.pod} -c app"
        if member.state == CONFIG_ERROR:
            hints.append(
                f"The start script of {member.pod} failed. See `{where}`; when the cause is gone, "
                f"`kubectl delete pod {place} {member.pod}` sets the member up again."
            )
        elif member.state == CREATING:
            hints.append(f"The start script of {member.pod} still runs; see `{where}`.")
        elif member.state == CREATE_PENDING:
            why = member.problem or member.pod_reason or f"its pod is {member.pod_phase}"
            hints.append(
                f"{member.pod} has not started ({why}); see "
                f"`kubectl describe pod {place} {member.pod}`."
            )
        elif member.problem:
            hints.append(f"{member.pod} serves, but: {member.problem}. See `{where}`.")
    return hints
