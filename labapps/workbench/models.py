"""Models and their builds: a copy of the project by digest, and an import test in a pod."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from labapps.workbench import copies, files, manifest, state
from labapps.workbench.ask import Ask, Handler, Route
from labapps.workbench.bench import Bench
from labapps.workbench.layout import BUILDS, PROJECTS
from labapps.workbench.refusal import conflict, invalid
from labapps.workbench.registry import TARGET, parse
from labapps.workbench.replication import check
from labapps.workbench.runs import tail
from labapps.workbench.store import Record, now
from labapps.workbench.tracking import Tracking

__all__ = ["BuildController", "Models"]

NEXT = ("auto_deploy_model", "auto_deployment_config")
MODEL = ("name", "description", "disable_authentication", "visibility", "registered_model_id",
         "default_resources", "default_replication_policy", "auto_build_model",
         "auto_build_config", *NEXT)  # fmt: skip
BUILD = ("file_path", "function_name", "kernel", "runtime_identifier", "comment", "model_root_dir",
         "registered_model_version_id", "build_script_path", *NEXT)  # fmt: skip
LOG = 20_000


class Models:
    """The handlers of models and builds."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store = bench, bench.store
        self.deploy: Handler = self.get_build  # until there are deployments

    def routes(self) -> list[Route]:
        all_, one = "/projects/{project_id}/models", "/projects/{project_id}/models/{model_id}"
        builds, build = one + "/builds", one + "/builds/{build_id}"
        return [
            Route("POST", all_, "create_model", "Create a model", self.create, MODEL),
            Route("GET", all_, "list_models", "List models", self.list, is_list=True),
            Route("GET", "/models", "list_all_models", "List models", self.list_all, is_list=True),
            Route("GET", one, "get_model", "Return a model", self.get),
            Route("PATCH", one, "update_model", "Change a model", self.patch, MODEL),
            Route("DELETE", one, "delete_model", "Delete a model; its name is free", self.delete),
            Route("POST", builds, "create_model_build", "Build a model", self.build, BUILD),
            Route("GET", builds, "list_model_builds", "List builds", self.builds, is_list=True),
            Route("GET", build, "get_model_build", "Return a build and its log", self.get_build),
        ]

    def need(self, ask: Ask, level: str) -> Record:
        """Return the model of a request."""
        project = self.bench.project(ask, level)
        return self.bench.need("model", ask.params["model_id"], project["id"])

    def need_build(self, ask: Ask, level: str) -> Record:
        """Return the build of a request."""
        model = self.need(ask, level)
        return self.bench.need("build", ask.params["build_id"], model["id"])

    async def create(self, ask: Ask) -> Record:
        project = self.bench.project(ask, "write")
        then = {name: ask.body[name] for name in NEXT if name in ask.body}
        config = ask.inside("auto_build_config")
        if registered := ask.text("registered_model_id", ""):
            await Tracking(self.bench.connected).model(registered)
        if self.store.find("model", project["id"], name=ask.text("name")):
            raise conflict(f"The project has a model {ask.text('name')!r}; choose another name.")
        number, moment = str(uuid.uuid4()), now()
        record: Record = {
            "id": number,
            "of": project["id"],
            "crn": self.bench.crn(number),
            "name": ask.text("name"),
            "description": ask.text("description", ""),
            "registered_model_id": registered,
            "visibility": ask.text("visibility", "private"),
            "access_key": f"m{secrets.token_hex(16)}",
            "auth_enabled": not ask.flag("disable_authentication"),
            **defaults(ask, {}),
            "active_deployment_id": "",
            "creator": {"username": ask.user.name},
            "created_at": moment,
            "updated_at": moment,
        }
        self.store.add("model", project["id"], record)
        if ask.flag("auto_build_model"):
            try:
                await self.build(ask.within({"model_id": number}, config | then))
            except BaseException:
                self.store.delete("model", number)
                raise
        return view(record)

    async def list(self, ask: Ask) -> Any:
        project = self.bench.project(ask, "read")
        found, token = self.store.page("model", project["id"], ask.page)
        return {"models": [view(m) for m in found], "next_page_token": token}

    async def list_all(self, ask: Ask) -> Any:
        found, token = self.store.page("model", None, ask.page, ask.user.reader)
        return {"models": [view(m) for m in found], "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        return view(self.need(ask, "read"))

    async def patch(self, ask: Ask) -> Record:
        record = self.need(ask, "write")
        name = ask.text("name", record["name"])
        if any(m["id"] != record["id"] for m in self.store.find("model", record["of"], name=name)):
            raise conflict(f"The project has a model {name!r}; choose another name.")
        for name in ("name", "description", "visibility"):
            if name in ask.body:
                record[name] = ask.text(name)
        record |= defaults(ask, record)
        if "disable_authentication" in ask.body:
            record["auth_enabled"] = not ask.flag("disable_authentication")
        record["updated_at"] = now()
        self.store.put("model", record)
        return view(record)

    async def delete(self, ask: Ask) -> Record:
        record = self.need(ask, "write")
        if any(d["model_id"] == record["id"] for d in self.store.live("deployment")):
            raise conflict("The model is deployed; stop it first: POST …/deployments/<id>:stop.")
        await self.bench.kube.delete("services", f"model-{record['id']}")
        for old in self.store.find("deployment", model_id=record["id"]):
            if old["has_secrets"]:
                await self.bench.kube.delete("secrets", f"model-{old['id']}")
        self.store.delete("model", record["id"])
        return {}

    async def build(self, ask: Ask) -> Record:
        model = self.need(ask, "write")
        config = ask.inside("auto_deployment_config")
        is_registered = bool(ask.body.get("registered_model_version_id"))
        record = await (self.build_registered if is_registered else self.build_file)(ask, model)
        if ask.flag("auto_deploy_model"):
            try:
                await self.deploy(ask.within({"build_id": record["id"]}, config))
            except BaseException:
                self.store.delete("build", record["id"])
                raise
        self.bench.wake()
        return self.view_build(record)

    async def build_file(self, ask: Ask, model: Record) -> Record:
        """Build a function of the project."""
        file, function = ask.text("file_path"), ask.text("function_name")
        names = files.split(file)
        if not function.isidentifier():
            raise invalid(f"function_name must be the name of a function; found {function!r}.")
        root = self.bench.layout.folder(PROJECTS, model["of"])
        below = files.split(ask.text("model_root_dir", ""))
        if not root.is_folder(below):
            raise invalid(f"model_root_dir must be a folder of the project; found {below}.")
        script = "/".join(files.split(ask.text("build_script_path", "")))
        digest = await asyncio.to_thread(self.freeze, root, below)
        target = f"{'/'.join(names)}:{function}"
        if script:
            # What the script leaves is the build: its digest comes when the script has ended.
            return self._add(ask, model, "", target, "", build_script_path=script, source=digest)
        return self._add(ask, model, digest, target, "")

    async def build_registered(self, ask: Ask, model: Record) -> Record:
        """Build a version of MLflow's registry; its files and digest come with the build."""
        if ask.text("build_script_path", ""):
            raise invalid("A registered version has no build_script_path; leave it out.")
        name, version = parse(ask.text("registered_model_version_id"))
        if model["registered_model_id"] not in ("", name):
            raise invalid(
                f"The model serves versions of {model['registered_model_id']}; found one of {name}."
            )
        found = await Tracking(self.bench.connected).version(name, version)
        return self._add(ask, model, "", TARGET, f"{found['name']}:{found['version']}")

    def _add(
        self, ask: Ask, model: Record, digest: str, target: str, version: str, **more: str
    ) -> Record:
        number, moment = str(uuid.uuid4()), now()
        file, _, function = target.rpartition(":")
        record = {
            "id": number,
            "of": model["id"],
            "crn": self.bench.crn(number),
            "model_id": model["id"],
            "file_path": file,
            "function_name": function,
            "target": target,
            "registered_model_version_id": version,
            "build_script_path": "",
            "build_digest": digest,
            "engine_image": self.bench.image(ask.text("runtime_identifier", "")),
            "comment": ask.text("comment", ""),
            "status": "pending",
            "reason": "",
            "creator": {"username": ask.user.name},
            "created_at": moment,
            "built_at": "",
        }
        record |= {"digest": digest, **more}
        self.store.add("build", model["id"], record, live=True)
        return record

    def freeze(self, source: files.Folder, below: Sequence[str]) -> str:
        """Copy a folder to where its digest says; the same files are kept once."""
        home, draft = self.bench.layout.folder(BUILDS), f".{secrets.token_hex(8)}"
        with source.opened(below) as found, self.bench.layout.made(BUILDS) as builds:
            os.mkdir(draft, dir_fd=builds)
            try:
                target = os.open(draft, files.DIRECTORY, dir_fd=builds)
                try:
                    digest = copies.copy(found, target)
                finally:
                    os.close(target)
                try:
                    os.rename(draft, digest, src_dir_fd=builds, dst_dir_fd=builds)
                except OSError as error:
                    # The same files are there already.
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
            finally:
                home.discard(draft)
        return digest

    async def builds(self, ask: Ask) -> Any:
        model = self.need(ask, "read")
        found, token = self.store.page("build", model["id"], ask.page)
        return {"model_builds": [self.view_build(b) for b in found], "next_page_token": token}

    async def get_build(self, ask: Ask) -> Record:
        record = self.need_build(ask, "read")
        log = tail(self.bench.layout, f"build-{record['id']}", "log")[-LOG:]
        return self.view_build(record) | {"log": log.decode("utf-8", "replace")}

    def view_build(self, record: Record) -> Record:
        return {k: v for k, v in record.items() if k not in ("of", "digest", "target", "source")}


def defaults(ask: Ask, before: Record) -> Record:
    """Return what a deployment of a model has when it asks for nothing else."""
    size = before.get("default_resources") or {"cpu_millicores": 1000, "memory": 2}
    policy = before.get("default_replication_policy") or {"type": "fixed", "num_replicas": 1}
    asked = ask.body.get("default_resources") or {}
    if not isinstance(asked, dict):
        raise invalid('default_resources must be like {"cpu_millicores":500,"memory":1}.')
    where = Ask.of_body(asked)
    given = ask.body.get("default_replication_policy")
    return {
        "default_resources": {
            "cpu_millicores": int(
                where.number("cpu_millicores", size["cpu_millicores"], 10, 64_000)
            ),
            "memory": where.number("memory", size["memory"], 0.1, 512),
        },
        "default_replication_policy": check(given) if given else policy,
    }


def view(record: Record) -> Record:
    """Return a model as clients see it."""
    found = {k: v for k, v in record.items() if k != "of"}
    return found | {"project": {"id": record["of"]}}


class BuildController:
    """Builds: a Job each that imports the function once."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store, self.kube = bench, bench.store, bench.kube

    async def look(self) -> bool:
        """Start import tests, and note how they ended."""
        live = self.store.live("build")
        if not live:
            return False
        selector = self.bench.frame.selector("build")
        jobs = {j["metadata"]["name"]: j for j in await self.kube.list("jobs", selector)}
        pods = await self.kube.list("pods", selector)
        for build in live:
            name = f"build-{build['id']}"
            if name not in jobs:
                made = manifest.build(self.bench.frame, build, self.bench.image(""))
                await self.kube.ensure("jobs", made)
                continue
            status = state.job_status(jobs[name], [], stopping=False)
            if status in state.FINAL:
                self._end(build, name, status)
                continue
            number = f"{manifest.LABEL}/build"
            own = [p for p in pods if p["metadata"]["labels"].get(number) == build["id"]]
            if (waits := state.reason(own)) != build["reason"]:
                self.store.put("build", build | {"reason": waits}, live=True)
        return True

    def _end(self, build: Record, name: str, status: str) -> None:
        """Note how a build ended: what its pod left says what there is."""
        build["built_at"], build["reason"] = now(), ""
        build["status"] = {state.SUCCEEDED: "built", state.TIMEDOUT: "timedout"}.get(
            status, "build failed"
        )
        if build["status"] == "built":
            build["reason"] = self._take(build, name)
            build["status"] = "build failed" if build["reason"] else "built"
        elif tail(self.bench.layout, name, "exit") in (b"", b"0") and status == state.FAILED:
            build["reason"] = "The build's pod was ended before it was done; build again."
        else:
            log = tail(self.bench.layout, name, "log").decode("utf-8", "replace")
            build["reason"] = log.strip().rpartition("\n")[2][-500:]
        self.store.put("build", build)

    def _take(self, build: Record, name: str) -> str:
        """Take over the digest and the image that a build's pod left; return what is wrong."""
        if not build["digest"]:
            found = tail(self.bench.layout, name, "digest").decode("ascii", "replace")
            if not re.fullmatch(r"[0-9a-f]{40}", found):
                return "The build's pod left no digest; build again."
            build["digest"] = build["build_digest"] = found
        if images := self.bench.frame.images:
            found = tail(self.bench.layout, name, "image").decode("ascii", "replace")
            prefix = re.escape(images.prefix.rpartition("://")[2])
            if not re.fullmatch(rf"{prefix}:{build['digest']}(-[0-9a-f]{{8}})?", found):
                return "The build's pod left no name of its image; build again."
            build["image"] = found
        return ""
