"""Collecting what a judgement needs: only what the request mentions, and only when it matters."""

from __future__ import annotations

import asyncio

from labsandbox.client import ApiError, Client, Resource
from labsandbox.client.resources import (
    KDAPPS,
    KDCLUSTERS,
    KDCONFIGS,
    PVCS,
    SECRETS,
    SERVICEACCOUNTS,
    STORAGECLASSES,
    SUBJECTACCESSREVIEWS,
)
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.admission import address
from labsandbox.kubedirector.admission.verdict import Request
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import (
    GLOBAL_CONFIG,
    LABEL_CLUSTER,
    GlobalConfig,
    Object,
    labels_of,
    read_settings,
    roles_of,
)
from labsandbox.kubedirector.store import Store

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class Gatherer:
    """Looks things up in the store, and in the API where the store knows nothing."""

    def __init__(self, client: Client, store: Store, namespace: str) -> None:
        self.client = client
        self.store = store
        self.namespace = namespace

    async def for_cluster(self, request: Request) -> World:
        """Return what is needed to judge a kdcluster."""
        cluster, namespace = request.obj, request.namespace
        cluster["metadata"].setdefault("namespace", namespace)
        roles = roles_of(cluster)
        needs_storage = any(role.get("storage") for role in roles)
        classes = await self._storage_classes() if needs_storage else []
        accounts = {r["serviceAccountName"] for r in roles if r.get("serviceAccountName")}
        projections = [p for role in roles for p in role.get("volumeProjections") or []]
        claim_names = {projection["pvcName"] for projection in projections}
        urls = {f["srcURL"] for role in roles for f in role.get("fileInjections") or []}
        secret_names = {role["secret"]["name"] for role in roles if role.get("secret")}
        if cluster["spec"].get("defaultSecret"):
            secret_names.add(cluster["spec"]["defaultSecret"]["name"])
        found_accounts, claims, secrets, app, unreachable = await asyncio.gather(
            self._existing(SERVICEACCOUNTS, namespace, accounts),
            self._existing(PVCS, namespace, claim_names),
            self._existing(SECRETS, namespace, secret_names),
            self._app(cluster),
            address.absent(urls),
        )
        wanted = [("serviceaccounts", name) for name in found_accounts]
        wanted += [("persistentvolumeclaims", name) for name in claims]
        return World(
            settings=await self.settings(),
            system_namespace=self.namespace,
            app=app,
            secrets=frozenset(secrets),
            service_accounts=frozenset(found_accounts),
            storage_classes=frozenset(c["metadata"]["name"] for c in classes),
            default_storage_class=_default_class(classes),
            claims=claims,
            denied=await self._denied(namespace, request.user, wanted),
            unreachable=unreachable,
        )

    def for_app(self, request: Request) -> World:
        """Return what is needed to judge a kdapp."""
        users = []
        for cluster in self.store.all(KDCLUSTERS):
            spec, place = cluster["spec"], cluster["metadata"]["namespace"]
            home = place if spec.get("appCatalog") != "system" else self.namespace
            if spec["app"] == request.name and home == request.namespace:
                users.append(f"{place}/{cluster['metadata']['name']}")
        return World(system_namespace=self.namespace, app_users=sorted(users))

    async def for_config(self, request: Request) -> World:
        """Return what is needed to judge kd-global-config."""
        spec = request.obj.get("spec") or {}
        classes = await self._storage_classes() if spec.get("defaultStorageClassName") else []
        return World(
            system_namespace=self.namespace,
            any_clusters=next(self.store.all(KDCLUSTERS), None) is not None,
            storage_classes=frozenset(c["metadata"]["name"] for c in classes),
        )

    def for_claim(self, request: Request) -> World:
        """Return what is needed to judge a volume claim."""
        name = labels_of(request.obj).get(LABEL_CLUSTER, "")
        return World(owner=self.store.get(KDCLUSTERS, request.namespace, name))

    async def settings(self) -> GlobalConfig:
        """Return the platform's settings."""
        config = self.store.get(KDCONFIGS, self.namespace, GLOBAL_CONFIG)
        if config is None:
            config = await self._get(KDCONFIGS, self.namespace, GLOBAL_CONFIG)
        return read_settings(config)

    async def _app(self, cluster: Object) -> Object | None:
        """Return the app; one that was created a moment ago may not be in the store yet."""
        known = apps.find(
            cluster, self.namespace, lambda ns, name: self.store.get(KDAPPS, ns, name)
        )
        if known and known["metadata"]["namespace"] == cluster["metadata"]["namespace"]:
            return known
        for namespace in (cluster["metadata"]["namespace"], self.namespace):
            fresh = await self._get(KDAPPS, namespace, cluster["spec"]["app"])
            if fresh:
                self.store.put(KDAPPS, fresh)
        return apps.find(cluster, self.namespace, lambda ns, name: self.store.get(KDAPPS, ns, name))

    async def _existing(
        self, resource: Resource, namespace: str, names: set[str]
    ) -> dict[str, Object]:
        ordered = sorted(names)
        found = await asyncio.gather(*(self._get(resource, namespace, name) for name in ordered))
        return {name: obj for name, obj in zip(ordered, found, strict=True) if obj}

    async def _get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self.client.get(resource, name, namespace)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def _storage_classes(self) -> list[Object]:
        return await self.client.list(STORAGECLASSES)

    async def _denied(
        self, namespace: str, user: Object, wanted: list[tuple[str, str]]
    ) -> frozenset[tuple[str, str]]:
        answers = await asyncio.gather(
            *(self._may_get(namespace, user, resource, name) for resource, name in wanted)
        )
        return frozenset(what for what, may in zip(wanted, answers, strict=True) if not may)

    async def _may_get(self, namespace: str, user: Object, resource: str, name: str) -> bool:
        spec = {
            "user": user.get("username") or "",
            "groups": user.get("groups") or [],
            "uid": user.get("uid") or "",
            "extra": user.get("extra") or {},
            "resourceAttributes": {
                "namespace": namespace,
                "verb": "get",
                "resource": resource,
                "name": name,
            },
        }
        answer = await self.client.create(SUBJECTACCESSREVIEWS, {"spec": spec})
        return bool((answer.get("status") or {}).get("allowed"))


def _default_class(classes: list[Object]) -> str | None:
    for storage_class in classes:
        if (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
            return str(storage_class["metadata"]["name"])
    return None
