"""`labs class`: what its options mean."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import typer

_OUTSIDE = ("192.0.2.1", 9)  # an address of no host (RFC 5737): only the way to it is asked for


def hold_class(
    students: Annotated[
        int | None, typer.Option(help="How many learners; the class's own number when absent.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The class's folder; build/class when absent.")
    ] = None,
    tenants: Annotated[
        str, typer.Option(help="own: a tenant for each learner; shared: one for all.")
    ] = "own",
    platform: Annotated[
        Path | None, typer.Option(help="Settings of a platform that exists (NAME=value).")
    ] = None,
    bind: Annotated[
        str | None, typer.Option(help="The address the hub listens on; 0.0.0.0 for a network.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The hub's port.", min=1, max=65535)] = None,
    address: Annotated[
        str | None, typer.Option(help="The host name that learners type, if it is another.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="The hub's own certificate; one is made when absent.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
    prefix: Annotated[str, typer.Option(help="How learners are called before their number.")] = (
        "student"
    ),
    instructor: Annotated[str, typer.Option(help="The instructor's name.")] = "instructor",
    workshop: Annotated[
        str | None, typer.Option(help="Prepare this workshop, such as core; all when absent.")
    ] = None,
    practice: Annotated[
        bool | None,
        typer.Option(
            "--practice/--guided",
            help="Which copy of a lab the panel opens: with blanks, or complete. Learners can "
            "open both; as before when absent, complete at first.",
        ),
    ] = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Make accounts and cards, open no hub.")
    ] = False,
    on_demand: Annotated[
        bool,
        typer.Option("--on-demand", help="Start a learner's server when they come, not before."),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave hub and platform running at the end.")
    ] = False,
    down: Annotated[
        bool, typer.Option("--down", help="End what an earlier call left running.")
    ] = False,
) -> None:
    """Hold a class: a hub with a server and a tenant for each learner, and a page for you."""
    from labclass import running
    from labclass.prepare import ClassOptions
    from labclass.roster import Folder, read_facts
    from labrunner.console import console
    from labrunner.curriculum import load
    from labrunner.replay import interruptible

    curriculum = load()
    if workshop is not None:
        curriculum.workshop(workshop)
    root = curriculum.root
    place = Folder((folder or root / "build" / "class").expanduser().absolute())
    if down:
        console.print("Stopped." if running.take_down(place) else "Nothing runs there.")
        return
    place.make()
    with place.held(), interruptible():
        known = read_facts(place).get("hub", {})
        hub = address_of(known, bind, port, address, certificate, key)
        _check_tenants(tenants)
        options = ClassOptions(
            students, tenants, prefix, instructor, hub, workshop, practice, on_demand
        )
        act = running.prepare_only if prepare_only else running.hold
        try:
            act(place, options, platform, root, console, keep=keep)
        except KeyboardInterrupt:
            raise _interrupted(place.root) from None


def _check_tenants(tenants: str) -> None:
    from labclass.prepare import OWN, SHARED
    from labclass.roster import BadClass

    if tenants not in (OWN, SHARED):
        raise BadClass(
            f"Expected `--tenants own` (a tenant for each learner) or `--tenants shared` (one for "
            f"all), found {tenants!r}."
        )


def _interrupted(folder: Path) -> Exception:
    from labrunner.errors import Interrupted

    return Interrupted(
        "Interrupted; what was started is taken down, and nothing of the class is lost. Go on with "
        f"`labs class --folder {folder}`."
    )


def address_of(
    known: dict[str, Any],
    bind: str | None,
    port: int | None,
    address: str | None,
    certificate: Path | None,
    key: Path | None,
) -> dict[str, Any]:
    """Return where the hub listens and what learners type; what is not said stays as it was.

    >>> address_of({}, None, None, None, None, None)["url"]
    'http://127.0.0.1:8000'
    >>> address_of({}, "10.0.0.5", 8443, None, None, None)["url"]
    'https://10.0.0.5:8443'
    >>> address_of({"bind": "10.0.0.5", "port": 9000}, None, None, "lab.test", None, None)["url"]
    'https://lab.test:9000'
    """
    from labclass.roster import BadClass

    if bool(certificate) != bool(key):
        raise BadClass(
            "Expected --certificate and --key together, found one of them. Give both, or neither: "
            "then a certificate is made."
        )
    listens = bind or known.get("bind") or "127.0.0.1"
    number = port or known.get("port") or 8000
    host = address or (known.get("host") if bind is None else None) or _reached(listens)
    files = {"certificate": certificate, "key": key}
    chosen = {n: str(f.absolute()) if f else known.get(n) for n, f in files.items()}
    scheme = "https" if chosen["certificate"] or not _is_loopback(listens) else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}"
    return {"url": url, "bind": listens, "port": number, "host": host, **chosen}


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _reached(bind: str) -> str:
    """Return by which address others reach a host that listens on `bind`."""
    if bind not in ("0.0.0.0", "::", "*"):
        return bind
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_OUTSIDE)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
