"""The `labsandbox` command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsandbox import sandbox, tree
from labsandbox.node import landlock
from labsandbox.sandbox import SandboxError
from labsandbox.state import State

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A laptop-sized platform: Kubernetes, KubeDirector and an Ezmeral front door.",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Where = Annotated[
    Path | None,
    typer.Option("--state", help="The folder of this sandbox.", envvar="LABSANDBOX_STATE"),
]


def main() -> None:
    """Run the command; errors are one sentence, not a traceback."""
    try:
        app()
    except SandboxError as error:
        err.print(f"[red]{escape(str(error))}[/]")
        sys.exit(1)


@app.command()
def up(
    state: Where = None,
    students: Annotated[int, typer.Option(min=0, max=200, help="How many student accounts.")] = 1,
    seats: Annotated[
        int, typer.Option(min=1, max=200, help="Room for how many learners at the same time.")
    ] = 1,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready.")] = False,
    session_minutes: Annotated[float, typer.Option(help="How long a sign-in lasts.")] = 1440,
    directory: Annotated[
        bool, typer.Option("--directory", help="With an LDAP server whose people can sign in.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs; the environment is in it.")
    ] = False,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="End when standard input is closed.")
    ] = False,
) -> None:
    """Start the platform, or say that it runs already."""
    place = State.at(state)
    already = sandbox.facts(place)
    begun = time.monotonic()
    words = ["--students", str(students), "--seats", str(seats)]
    words += ["--session-seconds", str(session_minutes * 60)]
    words += ["--until-eof"] if until_eof else []
    if directory:
        _require_directory()
        words.append("--directory")
    if not detach:
        _raise_on_signals()
    try:
        with err.status("starting") as status:
            facts = sandbox.start(place, words, lambda phase: status.update(phase))
    except KeyboardInterrupt:
        if not already:
            sandbox.stop(place)
        raise
    if as_json:
        found: dict[str, Any] = {
            "already": bool(already and already.pid == facts.pid),
            "pid": facts.pid,
        }
        found |= {"state": str(place.root), "environment": environment(place)}
        typer.echo(json.dumps(found))
    elif already and already.ready:
        out.print(f"The sandbox runs already: process {facts.pid} of {facts.user}.")
    else:
        out.print(f"The sandbox is ready after {time.monotonic() - begun:.1f} s.")
    if not as_json:
        _print_next(place, facts)
    if not detach and not already:
        _stay(place, facts.pid)


def _require_directory() -> None:
    """Refuse to start before the directory's environment is installed."""
    from labsandbox.directory import service

    try:
        service.python()
    except service.DirectoryUnavailable as error:
        raise SandboxError(str(error)) from error


def _print_next(place: State, facts: sandbox.Facts) -> None:
    flag = "" if place.root == State.at().root else f" --state {shlex.quote(str(place.root))}"
    table = Table.grid(padding=(0, 2))
    table.add_row("REST API", f"https://127.0.0.1:{facts.rest_port}")
    table.add_row("Kubernetes API", f"https://127.0.0.1:{facts.api_port}")
    table.add_row("Certificate to trust", str(place.ca))
    table.add_row("Passwords", f"{place.credentials} (only you can read it)")
    out.print(table)
    if not landlock.abi():
        err.print(
            "[yellow]This kernel has no Landlock: programs in pods can read and write what you "
            "can. Run nobody else's code here; `labsandbox doctor` says what helps.[/]"
        )
    if note := sandbox.shared_address():
        err.print(f"[yellow]{note}[/]")
    out.print("Next:")
    out.print(f'  eval "$(labsandbox env{flag})"   # then sign in as $EZMERAL_USER', soft_wrap=True)
    out.print(f"  labsandbox status{flag} | logs | doctor | down", soft_wrap=True)


def _raise_on_signals() -> None:
    """Make Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt.

    A shell starts the background jobs of a script with SIGINT ignored; Python installs no handler
    of its own then.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _stay(place: State, pid: int) -> None:
    out.print("Ctrl-C stops it.")
    try:
        while sandbox.is_held(place):
            time.sleep(0.5)
    except KeyboardInterrupt:
        with err.status("stopping"):
            sandbox.stop(place)
        out.print("Stopped. What it holds is kept for the next `labsandbox up`.")
        return
    err.print(f"[red]The platform (process {pid}) has ended; `labsandbox logs` says why.[/]")
    raise typer.Exit(1)


@app.command()
def down(state: Where = None) -> None:
    """Stop the platform and every process it started; what it holds is kept."""
    place = State.at(state)
    with err.status("stopping"):
        was_there = sandbox.stop(place)
    out.print("Stopped." if was_there else f"Nothing runs in {place.root}.", soft_wrap=True)


@app.command()
def reset(
    state: Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the platform and delete everything it holds, project repositories included."""
    place = State.at(state)
    if not place.root.exists():
        out.print(f"There is nothing in {place.root}.", soft_wrap=True)
        return
    if not (place.root / "pki").exists() and any(place.root.iterdir()):
        raise SandboxError(
            f"Expected a sandbox in {place.root}, found other files. Nothing was deleted."
        )
    if not yes:
        typer.confirm(f"Delete everything in {place.root}?", abort=True)
    sandbox.stop(place)
    if not tree.remove(str(place.root.resolve())):
        raise SandboxError(
            f"Expected to delete all of {place.root}, found something that cannot be removed, or "
            "that is still written to. End the programs that use it and type the command again."
        )
    out.print("Deleted.")


@app.command()
def status(
    state: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what runs."""
    from labsandbox import diagnosis

    place = State.at(state)
    found = diagnosis.status(place)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _print_status(found)
    raise typer.Exit(0 if found["ready"] else 1)


def _print_status(found: dict[str, Any]) -> None:
    if not found["running"]:
        out.print(f"Nothing runs in {found['state']}. Start it with `labsandbox up`.")
        return
    out.print(f"{found['phase']}: process {found['pid']}, {found['memory_mb']} MB in its processes")
    for title, rows in found["tables"].items():
        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows[1:]:
            table.add_row(*(escape(str(cell)) for cell in row))
        out.print(table)


@app.command()
def logs(
    state: Where = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", help="How many lines of each log.")] = 50,
) -> None:
    """Print the platform's own logs."""
    place = State.at(state)
    files = sorted(place.logs.glob("*.log")) + sorted(place.logs.glob("*.out"))
    if not files:
        raise SandboxError(f"There are no logs in {place.logs}: nothing was started there yet.")
    words = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
    raise typer.Exit(subprocess.call(words))


@app.command()
def doctor(state: Where = None) -> None:
    """Look for what keeps the platform or a cluster from working, and say what to do."""
    from labsandbox import diagnosis

    findings = diagnosis.examine(State.at(state))
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]no[/]"
        out.print(f"{mark}  {escape(finding.what)}", soft_wrap=True)
        if not finding.ok:
            out.print(f"    {escape(finding.cure)}", soft_wrap=True)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def env(
    state: Where = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print the environment a lab needs, to be evaluated by a shell."""
    values = environment(State.at(state))
    if as_json:
        typer.echo(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def environment(place: State) -> dict[str, str]:
    """Return the environment of a running sandbox."""
    if sandbox.facts(place) is None:
        raise sandbox.NotRunning(f"Nothing runs in {place.root}. Start it with `labsandbox up`.")
    pairs = (line.partition("=")[::2] for line in place.platform_env.read_text().splitlines())
    return dict(pairs)


@app.command()
def kubeconfig(
    state: Where = None,
    user: Annotated[str | None, typer.Option(help="Whose; the platform's admin if unset.")] = None,
    token: Annotated[bool, typer.Option("--token", help="A plain token, no plugin.")] = False,
) -> None:
    """Print a kubeconfig: the administrator's, or a user's with `--user`."""
    place = State.at(state)
    values = environment(place)
    if user is None:
        typer.echo(place.admin_kubeconfig.read_text(), nl=False)
        return
    typer.echo(_user_kubeconfig(place, values["EZMERAL_URL"], user, token), nl=False)


def _user_kubeconfig(place: State, url: str, user: str, token: bool) -> str:
    import csv

    with open(place.credentials) as sheet:
        found = next((row for row in csv.DictReader(sheet) if row["user"] == user), None)
    if found is None:
        raise SandboxError(f"There is no user {user!r} on {place.credentials}.")
    body = {"name": user, "password": found["password"], "tenant_name": found["tenant"] or None}
    context = ssl.create_default_context(cafile=str(place.ca))
    login = urllib.request.Request(f"{url}/api/v2/session", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(login, timeout=15, context=context) as answer:
            session = answer.headers["Location"]
        asked = urllib.request.Request(
            f"{url}/api/v2/k8skubeconfig" + ("?token=true" if token else ""),
            headers={"X-BDS-SESSION": session},
        )
        with urllib.request.urlopen(asked, timeout=15, context=context) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise SandboxError(f"The front door refused: {error.read().decode()}") from error


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    main()
