"""A small world for the operator's pure half: objects in dicts, pods that start at once.

`World.settle()` runs passes until nothing changes. What really runs in members is replaced by
answers a test chooses; everything the plans asked for is kept for looking at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labsandbox.client.resources import PODS, SERVICES, STATEFULSETS
from labsandbox.kubedirector.configmeta import Connected
from labsandbox.kubedirector.connection import compute_hash
from labsandbox.kubedirector.model import GlobalConfig
from labsandbox.kubedirector.reconcile.cluster import reconcile
from labsandbox.kubedirector.reconcile.plan import (
    Bump,
    Create,
    Delete,
    Job,
    Observed,
    Patch,
    Plan,
    Report,
)
from labsandbox.kubedirector.script import Answer

Object = dict[str, Any]
NAMESPACE = "k8smltenant"


def make_app(**spec: Any) -> Object:
    """Return a kdapp like the training engine, defaults folded in as the webhook does."""
    package = {"packageURL": "file:///opt/configscript/app.tgz", "useNewSetupLayout": True}
    role = {"imageRepoTag": "labs/x:1.0", "configPackage": package, "maxLogSizeDump": 256}
    return {
        "metadata": {"name": "training-engine", "namespace": NAMESPACE},
        "spec": {
            "label": {"name": "ML Training Toolkit"},
            "distroID": "labs/training-engine",
            "version": "1.0",
            "configSchemaVersion": 7,
            "services": [
                {
                    "id": "gunicorn",
                    "label": {"name": "API Server"},
                    "endpoint": {"port": 10001, "urlScheme": "http", "hasAuthToken": True},
                },
                {"id": "ssh", "label": {"name": "SSH"}, "endpoint": {"port": 22}},
            ],
            "roles": [
                {"id": "LoadBalancer", "cardinality": "1", **role},
                {"id": "RESTServer", "cardinality": "1+", **role},
            ],
            "config": {
                "configMeta": {"ml_engine": "python"},
                "selectedRoles": ["LoadBalancer", "RESTServer"],
                "roleServices": [
                    {"roleID": "LoadBalancer", "serviceIDs": ["gunicorn"]},
                    {"roleID": "RESTServer", "serviceIDs": ["gunicorn", "ssh"]},
                ],
            },
            **spec,
        },
    }


def make_role(name: str, members: int = 1, **more: Any) -> Object:
    """Return a role of a kdcluster."""
    amounts = {"cpu": "500m", "memory": "2Gi"}
    return {"id": name, "members": members, "resources": {"limits": amounts}, **more}


def make_cluster(*roles: Object, **spec: Any) -> Object:
    """Return a kdcluster as it is stored after admission."""
    return {
        "apiVersion": "kubedirector.hpe.com/v1beta1",
        "kind": "KubeDirectorCluster",
        "metadata": {
            "name": "training",
            "namespace": NAMESPACE,
            "uid": "5f1d",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "app": "training-engine",
            "appCatalog": "local",
            "namingScheme": "CrNameRole",
            "serviceType": "NodePort",
            "roles": list(roles) or [make_role("LoadBalancer"), make_role("RESTServer")],
            **spec,
        },
    }


def exited(code: int = 0, stdout: str = "", stderr: str = "") -> Callable[[Job, int], Answer]:
    """Return a script that ends with this code."""
    return lambda job, generation: Answer("exited", code, generation, stdout, stderr)


def running(job: Job, generation: int) -> Answer:
    """Answer for a script that does not end."""
    return Answer("running", None, generation, "", "")


@dataclass
class World:
    """One kdcluster and what surrounds it."""

    cluster: Object
    app: Object | None = field(default_factory=make_app)
    settings: GlobalConfig = field(default_factory=GlobalConfig)
    connected: dict[str, dict[str, Object]] = field(default_factory=dict)
    dependents: tuple[str, ...] = ()
    backup: Object | None = None
    services: dict[str, Object] = field(default_factory=dict)
    stateful_sets: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    answer: Callable[[Job, int], Answer] = field(default_factory=lambda: exited())
    notes: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    has_pods: bool = True
    containers: int = 0

    @property
    def status(self) -> Object:
        return dict(self.cluster["status"])

    def member(self, index: int = 0, role: int = 0) -> Object:
        return dict(self.status["roles"][role]["members"][index])

    def messages(self) -> list[str]:
        return [message for _, message in self.notes]

    def observe(self) -> Observed:
        def lookup(kind: str, name: str) -> Object | None:
            return self.connected.get(kind, {}).get(name)

        return Observed(
            cluster=copy.deepcopy(self.cluster),
            app=self.app,
            settings=self.settings,
            services=dict(self.services),
            stateful_sets=copy.deepcopy(self.stateful_sets),
            pods=copy.deepcopy(self.pods),
            connected=Connected(),
            connection_hash=compute_hash(self.cluster, lookup),
            dependents=self.dependents,
            backup=self.backup,
            reports=dict(self.reports),
            busy=frozenset(self.busy),
            token="0123456789abcdef0123456789abcdef",
        )

    def step(self) -> Plan:
        """Make one pass, do what it says, let the world go on a little."""
        plan = reconcile(self.observe())
        self.reports.clear()
        self._carry_out(plan)
        self._run_pods()
        return plan

    def settle(self, passes: int = 60) -> None:
        """Make passes until one changes nothing."""
        for _ in range(passes):
            before = copy.deepcopy((self.cluster, self.pods, self.services, self.stateful_sets))
            self.step()
            same = before == (self.cluster, self.pods, self.services, self.stateful_sets)
            if same and not self.reports:
                return
        raise AssertionError(f"not settled after {passes} passes: {self.cluster['status']}")

    def change_spec(self, **spec: Any) -> None:
        self.cluster["spec"] |= spec
        self.cluster["metadata"]["generation"] += 1

    def restart(self, pod: str) -> None:
        """Replace a pod's container."""
        self.containers += 1
        self._status(self.pods[pod])["containerID"] = f"c{self.containers}"

    def _carry_out(self, plan: Plan) -> None:
        self.notes += [(note.reason, note.message) for note in plan.notes]
        self.actions += plan.actions
        for action in plan.actions:
            self._act(action)
        meta = self.cluster["metadata"]
        if plan.finalizer is not None:
            meta["finalizers"] = ["kubedirector.hpe.com/cleanup"] if plan.finalizer else []
        for key, values in (("annotations", plan.annotations), ("labels", plan.labels)):
            for name, value in values.items():
                if value is None:
                    meta.get(key, {}).pop(name, None)
                else:
                    meta.setdefault(key, {})[name] = value
        if plan.status is not None and plan.status != self.cluster.get("status"):
            self.cluster["status"] = plan.status
            plan.status["generationUID"] = "x"
            self.states.append(plan.status["state"])
        for job in plan.jobs:
            self.jobs.append(job)
            answer = self.answer(job, self.status["specGenerationToProcess"])
            version = job.version if job.reconnect or job.kind == "setup" else 0
            report = Report(job.kind, job.pod, job.container, answer, version, job.arguments)
            self.reports[job.pod] = report
            if answer.state == "running":
                self.busy.add(job.pod)

    def finish(self, pod: str, code: int = 0) -> None:
        """Let a script that runs come to its end."""
        job = next(job for job in reversed(self.jobs) if job.pod == pod)
        self.busy.discard(pod)
        answer = Answer("exited", code, self.status["specGenerationToProcess"], "", "")
        version = job.version if job.reconnect or job.kind == "setup" else 0
        self.reports[pod] = Report(job.kind, pod, job.container, answer, version, job.arguments)

    def _act(self, action: Any) -> None:
        tables = {SERVICES: self.services, STATEFULSETS: self.stateful_sets, PODS: self.pods}
        if isinstance(action, Bump):
            return
        table = tables.get(action.resource, {})
        if isinstance(action, Create):
            table.setdefault(action.obj["metadata"]["name"], copy.deepcopy(action.obj))
        elif isinstance(action, Patch):
            target = table.setdefault(action.name, {})
            _merge(target, action.patch)
        elif isinstance(action, Delete):
            table.pop(action.name, None)

    def _run_pods(self) -> None:
        """Do what the StatefulSet controller and the node do."""
        wanted: set[str] = set()
        for name, stateful_set in self.stateful_sets.items():
            replicas = stateful_set["spec"]["replicas"] if self.has_pods else 0
            stateful_set["status"] = {"replicas": replicas}
            wanted |= {f"{name}-{ordinal}" for ordinal in range(replicas)}
        for pod in [pod for pod in self.pods if pod not in wanted]:
            del self.pods[pod]
        for pod in sorted(wanted - set(self.pods)):
            self.containers += 1
            self.pods[pod] = {
                "metadata": {"name": pod, "namespace": NAMESPACE},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {
                            "name": "app",
                            "containerID": f"c{self.containers}",
                            "state": {"running": {}},
                        }
                    ],
                },
            }

    @staticmethod
    def _status(pod: Object) -> Object:
        found: Object = pod["status"]["containerStatuses"][0]
        return found


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
