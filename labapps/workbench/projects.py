"""Projects: created empty, from a template, a folder or a git repository; their files and roles."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

from labapps.web.asgi import Reply
from labapps.workbench import copies, files
from labapps.workbench.ask import Ask, Route
from labapps.workbench.bench import LEVELS, Bench, permission
from labapps.workbench.layout import PROJECTS
from labapps.workbench.page import listed
from labapps.workbench.refusal import Refusal, conflict, invalid, missing
from labapps.workbench.store import Record, now, short_id

__all__ = ["Projects"]

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
READ_LIMIT, WRITE_LIMIT = 64 << 20, 64 << 20
GIT_SECONDS = 300
CHANGES = ("name", "description", "visibility", "environment")
FIELDS = (*CHANGES, "template", "git_url", "git_ref", "folder", "parent_project")


class Projects:
    """The handlers of projects and their files."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.store = bench, bench.store
        self.tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        one, file = "/projects/{project_id}", "/projects/{project_id}/files/{path}"
        member = "/projects/{project_id}/collaborators/{username}"
        return [
            Route("POST", "/projects", "create_project", "Create a project", self.create, FIELDS),
            Route("GET", "/projects", "list_projects", "List projects", self.list_all,
                  is_list=True),
            Route("GET", one, "get_project", "Return a project", self.get),
            Route("PATCH", one, "update_project", "Change a project", self.patch, CHANGES),
            Route("DELETE", one, "delete_project", "Delete a project and its files", self.delete),
            Route("GET", one + "/collaborators", "list_project_collaborators",
                  "List who has which permission", self.collaborators, is_list=True),
            Route("GET", one + "/applications", "list_applications",
                  "List applications; there are none here", self.applications, is_list=True),
            Route("PUT", member, "add_project_collaborator", "Grant a permission", self.grant,
                  ("permission",)),
            Route("DELETE", member, "delete_project_collaborator", "Revoke it", self.revoke),
            Route("GET", file, "list_project_files", "List a folder, or read a file", self.read),
            Route("PUT", file, "write_project_file", "Write a file", self.write, is_raw=True),
            Route("DELETE", file, "delete_project_file", "Delete a file", self.remove),
        ]  # fmt: skip

    async def create(self, ask: Ask) -> Record:
        name = ask.text("name").strip()
        if self.store.find("project", name=name):
            raise conflict(f"There is a project {name!r}; choose another name or use that one.")
        visibility = visible(ask.text("visibility", "private"))
        template, url = ask.text("template", ""), ask.text("git_url", "")
        source = self._source(template, ask.text("folder", ""), url, ask.text("git_ref", ""))
        moment, user = now(), {"username": ask.user.name, "name": ask.user.name, "email": ""}
        record: Record = {
            "id": short_id(),
            "name": name,
            "slug": name.lower().replace(" ", "-"),
            "description": ask.text("description", ""),
            "visibility": visibility,
            "owner": user,
            "creator": user,
            "collaborators": {},
            "environment": json.dumps(ask.table("environment")),
            "creation_status": "creating",
            "source": source,
            "created_at": moment,
            "updated_at": moment,
        }
        self.store.add("project", "", record, live=True)
        if source["kind"] == "git":
            task = asyncio.get_running_loop().create_task(self.fill(record))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            await self.fill(record)
        return view(record, ask)

    def _source(self, template: str, folder: str, url: str, ref: str) -> dict[str, str]:
        if url or template == "git":
            allowed = url.startswith(("https://", "http://", "ssh://", "git://"))
            if not allowed or ref.startswith("-"):
                raise invalid("git_url must begin with https://, http://, ssh:// or git://.")
            return {"kind": "git", "url": url, "ref": ref}
        if folder:
            names = files.split(folder)
            at_home = files.Folder(self.bench.layout.repository)
            if names[:1] == ["workbench"] or not at_home.is_folder(names):
                raise invalid(f"folder must be a folder of the project repository; found {folder}.")
            return {"kind": "folder", "path": "/".join(names)}
        known = sorted(p.name for p in TEMPLATES.iterdir())
        if template and template not in [*known, "local", "blank"]:
            raise missing(f"There is no template {template!r}; there are {', '.join(known)}.")
        return {"kind": "template", "path": template if template in known else ""}

    async def fill(self, record: Record) -> None:
        """Bring the files of a new project into its folder; a restart begins again."""
        home, number, problem = self.bench.layout.folder(PROJECTS), record["id"], ""
        draft, source = f"{number}.draft", record["source"]
        with self.bench.layout.made(PROJECTS) as folder:
            try:
                await asyncio.to_thread(_discard, home, draft)
                if source["kind"] == "git":
                    problem = await clone(source["url"], source["ref"], folder, draft)
                else:
                    await asyncio.to_thread(self._copy, source, folder, draft)
                if not problem and not await asyncio.to_thread(exists, number, folder):
                    os.rename(draft, number, src_dir_fd=folder, dst_dir_fd=folder)
            except (OSError, Refusal) as error:
                problem = str(error)
            if not await asyncio.to_thread(exists, number, folder):
                os.mkdir(number, dir_fd=folder)
        if self.store.get("project", number) is None:
            await asyncio.to_thread(_discard, home, number)
            return
        record["creation_status"] = "failure" if problem else "success"
        record["creation_error"] = problem
        self.store.put("project", record)

    def _copy(self, source: dict[str, str], folder: int, draft: str) -> None:
        """Make a draft of what a project begins with."""
        os.mkdir(draft, dir_fd=folder)
        if not source["path"]:
            return
        is_template = source["kind"] == "template"
        root = TEMPLATES if is_template else self.bench.layout.repository
        target = os.open(draft, files.DIRECTORY, dir_fd=folder)
        try:
            with files.Folder(root).opened(source["path"].split("/")) as found:
                copies.copy(found, target)
        finally:
            os.close(target)

    async def resume(self) -> None:
        """Finish what a killed workbench had begun."""
        for record in self.store.live("project"):
            await self.fill(record)

    async def list_all(self, ask: Ask) -> Any:
        found, token = self.store.page("project", "", ask.page, ask.user.reader)
        return {"projects": [view(p, ask) for p in found], "next_page_token": token}

    async def get(self, ask: Ask) -> Record:
        return view(self.bench.project(ask, "read"), ask)

    async def patch(self, ask: Ask) -> Record:
        record = self.bench.project(ask, "admin")
        name, visibility = ask.text("name", record["name"]).strip(), record["visibility"]
        if any(p["id"] != record["id"] for p in self.store.find("project", name=name)):
            raise conflict(f"There is a project {name!r}; choose another name.")
        record |= {
            "name": name,
            "description": ask.text("description", record["description"]),
            "visibility": visible(ask.text("visibility", visibility)),
        }
        if "environment" in ask.body:
            record["environment"] = json.dumps(ask.table("environment"))
        record["updated_at"] = now()
        self.store.put("project", record)
        return view(record, ask)

    async def delete(self, ask: Ask) -> Record:
        record = self.bench.project(ask, "admin")
        busy = [r for r in self.store.live("run") if r["project_id"] == record["id"]]
        if busy or self.store.find("model", record["id"]):
            raise conflict("The project has active runs or models; stop and delete them first.")
        for job in self.store.find("job", record["id"]):
            if job["schedule"]:
                await self.bench.kube.delete("cronjobs", f"job-{job['id']}")
            self.store.delete("job", job["id"])
        self.store.delete("project", record["id"])
        await asyncio.to_thread(_discard, self.bench.layout.folder(PROJECTS), record["id"])
        return {}

    async def collaborators(self, ask: Ask) -> Any:
        record = self.bench.project(ask, "read")
        everybody = {record["owner"]["username"]: "admin"} | record["collaborators"]
        rows = [{"username": name, "permission": level} for name, level in everybody.items()]
        found, token = listed(rows, ask.page)
        return {"collaborators": found, "next_page_token": token}

    async def applications(self, ask: Ask) -> Any:
        self.bench.project(ask, "read")
        return {"applications": [], "next_page_token": ""}

    async def grant(self, ask: Ask) -> Record:
        record = self.bench.project(ask, "admin")
        level = ask.text("permission")
        if level not in LEVELS:
            raise invalid(f"permission must be one of {', '.join(LEVELS)}; found {level!r}.")
        record["collaborators"][ask.params["username"]] = level
        self.store.put("project", record)
        return {}

    async def revoke(self, ask: Ask) -> Record:
        record = self.bench.project(ask, "admin")
        record["collaborators"].pop(ask.params["username"], None)
        self.store.put("project", record)
        return {}

    def _folder(self, ask: Ask, level: str) -> tuple[files.Folder, list[str]]:
        record = self.bench.project(ask, level)
        names = files.check(ask.params["path"].split("\0") if ask.params["path"] else [])
        return self.bench.layout.folder(PROJECTS, record["id"]), names

    async def read(self, ask: Ask) -> Any:
        folder, names = self._folder(ask, "read")
        if folder.is_folder(names):
            return {"files": folder.list(names)}
        content = await asyncio.to_thread(folder.read, names, READ_LIMIT)
        return Reply(200, content, b"application/octet-stream")

    async def write(self, ask: Ask) -> Record:
        folder, names = self._folder(ask, "write")
        assert ask.raw is not None
        content = await ask.raw.body(WRITE_LIMIT)
        await asyncio.to_thread(folder.write, names, content)
        return {"path": "/".join(names), "is_dir": False, "file_size": str(len(content))}

    async def remove(self, ask: Ask) -> Record:
        folder, names = self._folder(ask, "write")
        await asyncio.to_thread(folder.delete, names)
        return {}


def visible(word: str) -> str:
    """Return a visibility, or refuse it."""
    if word not in ("private", "public"):
        raise invalid(f"visibility must be private or public; found {word!r}.")
    return word


def _discard(home: files.Folder, name: str) -> None:
    """Remove a project's folder; what cannot be removed stays, and the log says why."""
    try:
        home.discard(name)
    except (OSError, Refusal) as error:
        log.warning("%s stays: %s", name, error)


def exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def view(record: Record, ask: Ask) -> Record:
    """Return a project as a user sees it."""
    held = permission(record, ask.user) or "read"
    rank = LEVELS.index(held)
    rights = {level: LEVELS.index(level) <= rank for level in LEVELS}
    hidden = ("collaborators", "source")
    found = {k: v for k, v in record.items() if k not in hidden}
    return found | {"permissions": rights | {"business_user": False}}


async def clone(url: str, ref: str, folder: int, name: str) -> str:
    """Clone a repository at a ref into an open folder; return what went wrong."""
    env = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "http:https:ssh:git"}
    steps = [["clone", "--quiet", "--no-checkout", "--", url, name]]
    steps += [["-C", name, "checkout", "--quiet", "--detach", r] for r in refs(ref)]
    problem = ""
    for number, words in enumerate(steps):
        process = await asyncio.create_subprocess_exec(
            "git", *words, env=env, cwd=f"/proc/self/fd/{folder}", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await asyncio.wait_for(process.communicate(), GIT_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"git took longer than {GIT_SECONDS} s."
        problem = said.decode("utf-8", "replace").strip()[-500:] if process.returncode else ""
        if bool(problem) == (number == 0):
            break
    return problem


def refs(ref: str) -> list[str]:
    """Return what a ref may mean: a branch of the repository, a tag or a commit.

    >>> refs("v1"), refs("")
    (['origin/v1', 'v1'], ['HEAD'])
    """
    return [f"origin/{ref}", ref] if ref else ["HEAD"]
