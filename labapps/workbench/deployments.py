"""Deployments of builds: asked for, changed, stopped; `rollout.py` brings them about."""

from __future__ import annotations

import json
import uuid
from typing import Any

from labapps.workbench import manifest
from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import Bench
from labapps.workbench.models import Models
from labapps.workbench.refusal import invalid, precondition
from labapps.workbench.replication import least, policy_of
from labapps.workbench.store import Record, now

__all__ = ["DEPLOYED", "DEPLOYING", "FAILED", "PENDING", "STOPPED", "STOPPING", "Deployments"]

CHANGES = ("cpu", "memory", "replicas", "replication_policy", "environment")
FIELDS = (*CHANGES, "nvidia_gpus", "deployment_secrets")
SETTINGS = ("cpu", "memory", "environment", "generation")
"""What a replica is made of: a change of it replaces the replicas."""
PENDING, DEPLOYING, DEPLOYED = "pending", "deploying", "deployed"
STOPPING, STOPPED, FAILED = "stopping", "stopped", "failed"
Object = dict[str, Any]


class Deployments:
    """The handlers of deployments."""

    def __init__(self, bench: Bench, models: Models) -> None:
        self.bench, self.store, self.models = bench, bench.store, models
        models.deploy = self.create

    def routes(self) -> list[Route]:
        all_ = "/projects/{project_id}/models/{model_id}/builds/{build_id}/deployments"
        one = all_ + "/{deployment_id}"
        return [
            Route("POST", all_, "create_model_deployment", "Deploy a build", self.create, FIELDS),
            Route("GET", all_, "list_model_deployments", "List deployments", self.list,
                  is_list=True),
            Route("GET", one, "get_model_deployment", "Return a deployment", self.get),
            Route("PATCH", one, "update_model_deployment", "Scale or change a deployment",
                  self.patch, CHANGES),
            Route("POST", one + ":stop", "stop_model_deployment", "Stop it", self.stop),
            Route("POST", one + ":restart", "restart_model_deployment", "Start it again",
                  self.restart),
        ]  # fmt: skip

    async def create(self, ask: Ask) -> Record:
        build = self.models.need_build(ask, "write")
        if build["status"] not in ("pending", "built"):
            raise precondition(
                f"The build has the status {build['status']}; mend the function and build again."
            )
        if ask.number("nvidia_gpus", 0, 0, 64):
            raise invalid("nvidia_gpus must be 0: this workbench has no GPU to give.")
        model = self.bench.need("model", build["model_id"])
        size, policy = model["default_resources"], model["default_replication_policy"]
        policy = policy_of(ask, policy)
        hidden = ask.table("deployment_secrets")
        number = str(uuid.uuid4())
        record: Record = {
            "id": number,
            "of": build["id"],
            "crn": self.bench.crn(number),
            "model_id": build["model_id"],
            "build_id": build["id"],
            "cpu": ask.number("cpu", size["cpu_millicores"] / 1000, 0.01, 64),
            "memory": ask.number("memory", size["memory"], 0.1, 512),
            "nvidia_gpu": 0,
            "replicas": least(policy),
            "replication_policy": policy,
            "environment": json.dumps(ask.table("environment")),
            "has_secrets": bool(hidden),
            "status": PENDING,
            "reason": "",
            "generation": 0,
            "deployer": {"username": ask.user.name},
            "created_at": now(),
            "updated_at": now(),
            "stopped_at": "",
        }
        if hidden:
            made = manifest.secret(self.bench.frame, number, hidden)
            await self.bench.kube.ensure("secrets", made)
        self.store.add("deployment", build["id"], record, live=True)
        self.bench.wake()
        return self.view(record)

    def need(self, ask: Ask, level: str) -> Record:
        build = self.models.need_build(ask, level)
        return self.bench.need("deployment", ask.params["deployment_id"], build["id"])

    async def list(self, ask: Ask) -> Any:
        build = self.models.need_build(ask, "read")
        if ask.query.get("sort"):
            raise invalid("Deployments take no sort key; they come in order of creation.")
        found, token = self.store.page("deployment", build["id"], ask.page)
        return {"model_deployments": [self.view(d) for d in found], "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        return self.view(self.need(ask, "read"))

    async def patch(self, ask: Ask) -> Record:
        """Change a deployment: another size at once, other replicas one after the other."""
        record = self.need(ask, "operator")
        if record["status"] in (STOPPING, STOPPED, FAILED):
            raise precondition(
                f"The deployment has the status {record['status']}; start it again with POST "
                f"…/deployments/{record['id']}:restart, or deploy the build anew."
            )
        seen = self.view(record)
        for name in sorted(set(ask.body) - set(CHANGES)):
            # A client may send the whole object back.
            if ask.body[name] != seen.get(name):
                raise invalid(f"Of a deployment {', '.join(CHANGES)} change; found {name!r}.")
        before = {name: record[name] for name in SETTINGS}
        policy = policy_of(ask, record["replication_policy"])
        record |= {
            "cpu": ask.number("cpu", record["cpu"], 0.01, 64),
            "memory": ask.number("memory", record["memory"], 0.1, 512),
            "replicas": least(policy),
            "replication_policy": policy,
        }
        if "environment" in ask.body:
            record["environment"] = json.dumps(ask.table("environment"))
        if record["status"] != PENDING and {name: record[name] for name in SETTINGS} != before:
            self._renew(record, before)
        else:
            self._set(record, record["status"], record["reason"])
        return self.view(record)

    def _renew(self, record: Record, before: Record) -> None:
        """Have new replicas replace the old ones; what served before is kept until they load."""
        if record["status"] == DEPLOYED:
            record["before"] = before
        record["generation"] = record["latest"] = record.get("latest", 0) + 1
        self._set(record, DEPLOYING, "")

    async def stop(self, ask: Ask) -> Record:
        record = self.need(ask, "operator")
        if record["status"] not in (STOPPED, FAILED):
            self._set(record, STOPPING, "")
        return self.view(record)

    async def restart(self, ask: Ask) -> Record:
        record = self.need(ask, "operator")
        if record["status"] == STOPPING:
            raise precondition("The deployment is being stopped; restart it when it is stopped.")
        if record["status"] != PENDING:
            # A new generation changes the pods' template, so Kubernetes replaces one by one.
            self._renew(record, {name: record[name] for name in SETTINGS})
        return self.view(record)

    def _set(self, record: Record, status: str, reason: str) -> None:
        record |= {"status": status, "reason": reason, "updated_at": now()}
        self.store.put("deployment", record, live=True)
        self.bench.wake()

    def view(self, record: Record) -> Record:
        """Return a deployment as clients see it."""
        hidden = ("of", "has_secrets", "generation", "latest", "before")
        found = {k: v for k, v in record.items() if k not in hidden}
        return found | {"ready_replicas": len(self.bench.replicas.get(record["id"], []))}
