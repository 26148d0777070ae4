"""The page to look at: projects, jobs as a tree with their states, models with what they answer.

Read-only HTML without a script. Whoever has an API key signs in with it; the cookie that follows is
good for these pages alone, so no other site can have anything done with it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

from labapps.web.asgi import Reply, Request
from labapps.workbench.bench import Bench, permission
from labapps.workbench.keys import Keys, User
from labapps.workbench.layout import PROJECTS
from labapps.workbench.refusal import Refusal, missing
from labapps.workbench.store import Record

__all__ = ["Overview"]

COOKIE = "workbench_page"
RUNS, LIMIT = 5, 4096
PAGE_SIZE = 8 << 20
SECURE = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; "
     b"form-action 'self'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]  # fmt: skip
# `sandbox`: without a script, and of no origin, so the cookie of this site is out of its reach.
ALONE = [
    (b"content-security-policy", b"sandbox; default-src 'none'; style-src 'unsafe-inline'; "
     b"img-src data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    *SECURE[1:],
]  # fmt: skip
STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1d2430;--dim:#4a5565;--line:#c9d0d9;
--soft:#f2f5f8;--good:#0b6b3a;--bad:#a4161a;--busy:#0b4f9c}
@media(prefers-color-scheme:dark){:root{--back:#14181e;--text:#e8ecf1;--dim:#aab4c0;--line:#3b4552;
--soft:#1e252e;--good:#5fd08f;--bad:#ff8f8f;--busy:#8cc0ff}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;background:var(--back);color:var(--text);max-width:70rem;
margin:0 auto;padding:1rem;overflow-wrap:anywhere}
a{color:var(--busy)}nav{margin-bottom:1rem}nav a{margin-right:1rem}
h2{margin-top:2rem}.dim{color:var(--dim)}
ul.tree{list-style:none;padding-left:0}ul.tree ul{list-style:none;padding-left:1.2rem;
border-left:2px solid var(--line);margin-left:.4rem}
ul.tree li{margin:.6rem 0}ol{margin:.2rem 0;padding-left:1.6rem;list-style:disc}
.state{font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}.busy{color:var(--busy)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}caption{text-align:left;
color:var(--dim)}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:break-word}thead th{background:var(--soft)}
input,button{font:inherit;padding:.4rem .6rem;border:1px solid var(--dim);border-radius:.3rem;
background:var(--back);color:var(--text);max-width:100%}
"""
MARKS = {
    "good": ("✓", {"SUCCEEDED", "built", "deployed", "success"}),
    "bad": ("✗", {"FAILED", "TIMEDOUT", "UNKNOWN", "build failed", "failed", "timedout",
                  "failure"}),
    "busy": ("…", {"SCHEDULING", "STARTING", "RUNNING", "STOPPING", "pending", "deploying",
                   "stopping", "creating"}),
}  # fmt: skip


class Overview:
    """Answers the pages."""

    def __init__(self, bench: Bench, keys: Keys) -> None:
        self.bench, self.store, self.keys = bench, bench.store, keys

    async def handle(self, request: Request) -> Reply:
        """Answer `/`, `/page/projects/<id>`, its files that are pages, and `/sign-in`."""
        if request.path == "/sign-in" and request.method == "POST":
            return await self.sign_in(request)
        try:
            user = self.keys.user(cookie(request))
        except Refusal:
            return page("Sign in", SIGN_IN)
        if request.path == "/":
            return page("Workbench", self.projects(user), user)
        number, _, file = request.path.removeprefix("/page/projects/").partition("/files/")
        project = self.store.get("project", number)
        if project is None or permission(project, user) is None:
            raise missing(f"There is no project {number} for {user.name}; / lists them.")
        if file:
            return self.written(project, file)
        return page(project["name"], await self.project(project), user)

    def written(self, project: Record, file: str) -> Reply:
        """Send a page that a job wrote; it may be anybody's, so it may do nothing but be read."""
        if not file.endswith(".html"):
            raise missing(f"{file} is no page; GET /api/v2/projects/{project['id']}/files has it.")
        folder = self.bench.layout.folder(PROJECTS, project["id"])
        content = folder.read(file.split("/"), PAGE_SIZE)
        return Reply(200, content, b"text/html; charset=utf-8", list(ALONE))

    async def sign_in(self, request: Request) -> Reply:
        """Give a cookie for a key that is known."""
        body = (await request.body(LIMIT)).decode("latin-1")
        key = parse_qs(body).get("key", [""])[-1].strip()
        try:
            self.keys.user(key)
        except Refusal:
            text = '<p role="alert" class="bad">This key is not known here.</p>'
            return page("Sign in", text + SIGN_IN)
        secure = "; Secure" if request.header(b"x-forwarded-proto") == "https" else ""
        value = f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return Reply(303, b"", headers=[(b"location", b"/"), (b"set-cookie", value.encode())])

    def projects(self, user: User) -> str:
        """List the projects that a user may read."""
        rows = []
        for one in self.store.find("project", ""):
            if permission(one, user) is None:
                continue
            number = one["id"]
            link = f'<a href="/page/projects/{text(number)}">{text(one["name"])}</a>'
            rows.append(
                [link, text(one["owner"]["username"]), state(one["creation_status"]),
                 str(len(self.store.find("job", number))),
                 str(len(self.store.find("model", number))), moment(one["created_at"])]
            )  # fmt: skip
        heads = ["Project", "Owner", "Files", "Jobs", "Models", "Created"]
        return table("Projects", heads, rows, "No project yet: POST /api/v2/projects makes one.")

    async def project(self, project: Record) -> str:
        """Show the jobs and the models of a project."""
        jobs = self.store.find("job", project["id"])
        tree = self.tree(jobs, "")
        parts = [
            f"<p>{text(project['description'])}</p>" if project["description"] else "",
            f'<p class="dim">Owner {text(project["owner"]["username"])}, id '
            f"<code>{text(project['id'])}</code></p>",
            "<h2>Jobs</h2>",
            f'<ul class="tree">{tree}</ul>' if tree else "<p>No job yet.</p>",
            self.pages(project),
            "<h2>Models</h2>",
        ]
        models = self.store.find("model", project["id"])
        parts += [await self.model(model) for model in models]
        if not models:
            parts.append("<p>No model yet.</p>")
        return "".join(parts)

    def pages(self, project: Record) -> str:
        """List the pages that jobs have written into the project's own folder."""
        try:
            found = self.bench.layout.folder(PROJECTS, project["id"]).list([])
        except Refusal:  # its folder is still being made
            return ""
        names = [one["path"] for one in found if one["path"].endswith(".html")]
        links = "".join(
            f'<li><a href="/page/projects/{text(project["id"])}/files/{text(quote(name))}">'
            f"{text(name)}</a></li>"
            for name in names
        )
        return f"<h2>Pages</h2><ul>{links}</ul>" if links else ""

    def tree(self, jobs: Sequence[Record], parent: str) -> str:
        """Return the jobs below a parent, each with its latest runs."""
        lines = []
        for job in jobs:
            if job["parent_id"] != parent:
                continue
            when = {"manual": "by hand", "dependent": "after its parent"}.get(job["type"])
            when = when or f"by the clock: {job['schedule']}, {job['timezone']}"
            when += ", paused" if job["paused"] else ""
            runs = "".join(run_line(run) for run in self.store.newest("run", job["id"], RUNS))
            below = self.tree(jobs, job["id"])
            lines.append(
                f'<li><strong>{text(job["name"])}</strong> <span class="dim">{text(when)}</span>'
                + (f"<ol>{runs}</ol>" if runs else '<div class="dim">never run</div>')
                + (f"<ul>{below}</ul>" if below else "")
                + "</li>"
            )
        return "".join(lines)

    async def model(self, model: Record) -> str:
        """Show a model: its builds, their deployments, and what those answered."""
        rows = []
        for number, build in enumerate(self.store.find("build", model["id"]), 1):
            name = build["registered_model_version_id"] or (
                f"{build['file_path']}:{build['function_name']}"
            )
            first = [str(number), text(name), state(build["status"], build["reason"])]
            found = self.store.find("deployment", build["id"])
            for deployment in found:
                figures = await self.bench.metrics.figures(deployment["crn"])
                ready = len(self.bench.replicas.get(deployment["id"], []))
                rows.append(
                    [*first, state(deployment["status"], deployment["reason"]),
                     f"{ready} of {size(deployment)}", str(figures["calls"]),
                     str(figures["failed"]), milliseconds(figures["p50"]),
                     milliseconds(figures["p99"])]
                )  # fmt: skip
            if not found:
                rows.append([*first, "none", "", "", "", "", ""])
        heads = ["Version", "Function", "Build", "Deployment", "Replicas", "Calls", "Failed",
                 "p50", "p99"]  # fmt: skip
        title = f"<h3>{text(model['name'])}</h3>"
        return title + table(f"Versions of {model['name']}", heads, rows, "No build yet.")


SIGN_IN = """<p>The key of this workbench's administrator is the annotation
<code>kubedirector.hpe.com/kd-auth-token</code> of its Service; others have one from
<code>POST /api/v2/users/&lt;name&gt;/v2_keys</code>.</p>
<form method="post" action="/sign-in"><p><label for="key">API key</label><br>
<input id="key" name="key" type="password" autocomplete="current-password" required size="48">
<button>Sign in</button></p></form>"""


def page(title: str, body: str, user: User | None = None) -> Reply:
    """Return a whole page."""
    who = f'<span class="dim">signed in as {text(user.name)}</span>' if user else ""
    found = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)} · '
        'Workbench</title><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<style>{STYLE}</style></head><body><header><nav aria-label="Pages">'
        f'<a href="/">Projects</a><a href="/docs">The API</a>{who}</nav></header>'
        f"<main><h1>{text(title)}</h1>{body}</main></body></html>"
    )
    return Reply(200, found.encode(), b"text/html; charset=utf-8", list(SECURE))


def table(caption: str, heads: Iterable[str], rows: list[list[str]], empty: str) -> str:
    if not rows:
        return f"<p>{text(empty)}</p>"
    top = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{lines}</tbody>"
        "</table></div>"
    )


def state(word: str, why: str = "") -> str:
    """Show a state in words, with a sign: colour alone says nothing to some."""
    plain = word.removeprefix("ENGINE_")
    for name, (sign, words) in MARKS.items():
        if plain in words:
            kind, mark = name, sign
            break
    else:
        kind, mark = "", "–"
    found = f'<span class="state {kind}"><span aria-hidden="true">{mark}</span> '
    found += f"{text(plain.lower())}</span>"
    return f'{found} <span class="dim">{text(why)}</span>' if why else found


def run_line(run: Record) -> str:
    facts = ", ".join(f"{k}: {v}" for k, v in (run.get("facts") or {}).items())
    more = f' <span class="dim">{text(facts)}</span>' if facts else ""
    return f"<li>{moment(run['created_at'])} {state(run['status'], run['reason'])}{more}</li>"


def size(deployment: Record) -> str:
    policy = deployment["replication_policy"]
    if "max_replicas" in policy:
        return f"{policy['min_replicas']} to {policy['max_replicas']}"
    return str(deployment["replicas"])


def moment(value: str) -> str:
    """Show a moment without its fractions.

    >>> moment("2026-11-29T03:00:00.123456Z")
    '<time datetime="2026-11-29T03:00:00.123456Z">2026-11-29 03:00:00 UTC</time>'
    """
    plain = value[:19].replace("T", " ")
    return f'<time datetime="{text(value)}">{text(plain)} UTC</time>'


def milliseconds(value: Any) -> str:
    return "" if value is None else f"{value} ms"


def cookie(request: Request) -> str:
    for part in request.header(b"cookie").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def text(value: Any) -> str:
    return html.escape(str(value))
