"""The `labs` command: build, check, replay and look after the labs."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from labrunner import curriculum as curricula
from labrunner import notebook, taxi
from labrunner.classroom.command import hold_class
from labrunner.errors import LabError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(taxi.app, name="data")
console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:  # a log has room for a whole line
    console = Console(highlight=False, soft_wrap=True, width=120)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Labs = Annotated[list[str] | None, typer.Argument(help="Ids such as core/03; all when absent.")]


@app.command("list")
def list_labs() -> None:
    """List the labs, in the order they are meant to be done."""
    for lab in curricula.load().labs:
        needs = f"  needs {', '.join(lab.needs)}" if lab.needs else ""
        console.print(f"{lab.id:<12} {lab.title:<40} {lab.minutes:>3} min  {lab.level}{needs}")


@app.command()
def build(labs: Labs = None) -> None:
    """Build notebooks and pictures from their sources, and the README's table of labs."""
    from labrunner import picture, readme

    curriculum = curricula.load()
    for drawn in picture.draw_all(curriculum.root):
        console.print(f"wrote  {drawn.relative_to(curriculum.root)}")
    if readme.save(curriculum):
        console.print("wrote  README.md")
    for lab in curriculum.pick(labs or ()):
        path = curriculum.notebook(lab)
        word = "wrote" if notebook.save(path, notebook.build(curriculum, lab)) else "unchanged"
        console.print(f"{word}  {path.relative_to(curriculum.root)}")


@app.command()
def pull(labs: Labs = None) -> None:
    """Take edits made in a notebook back into its source."""
    import json

    from labrunner import source

    curriculum = curricula.load()
    for lab in curriculum.pick(labs or ()):
        if notebook.is_current(curriculum, lab):
            continue
        edited = json.loads(curriculum.notebook(lab).read_text("utf-8"))
        path = curriculum.source(lab)
        notebook.save(path, notebook.text_of(edited, source.read(path)))
        notebook.save(curriculum.notebook(lab), notebook.build(curriculum, lab))
        console.print(f"pulled  {path.relative_to(curriculum.root)}")


@app.command()
def check(labs: Labs = None) -> None:
    """Check the labs against the rules of the house."""
    from labrunner import rules

    curriculum = curricula.load()
    findings = [
        finding for lab in curriculum.pick(labs or ()) for finding in rules.check(curriculum, lab)
    ]
    for finding in findings:
        console.print(str(finding))
    if findings:
        raise LabError(f"{len(findings)} findings. Edit notebooks/_src, then type `labs check`.")
    console.print("All rules kept.")


@app.command()
def replay(
    first: Annotated[str | None, typer.Option("--from", help="Start at this lab.")] = None,
    only: Annotated[str | None, typer.Option(help="Run only these: core/03,core/04.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: name=value, repeatable.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Short for --set rows=N.")] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="A TOML, YAML or JSON file of parameters.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Labs at the same time.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run broke.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Run each lab twice and compare its marked cells.")
    ] = False,
    solutions: Annotated[
        bool, typer.Option("--solutions", help="Run the exercises with their solutions.")
    ] = False,
    platform: Annotated[
        Path | None, typer.Option(help="Settings of a platform that exists (NAME=value).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    timeout: Annotated[int, typer.Option(help="Seconds for one cell.", min=1)] = 3600,
) -> None:
    """Run labs headlessly and write build/replay/report.html."""
    from labrunner import session
    from labrunner.replay import Plan
    from labrunner.settings import parse, read_file

    curriculum = curricula.load()
    given: dict[str, Any] = read_file(parameters) if parameters else {}
    given.update(parse(text) for text in set_ or ())
    if rows is not None:
        given["rows"] = rows
    plan = Plan(
        labs=curriculum.pick(only.split(",") if only else (), first),
        out=out or curriculum.root / "build" / "replay",
        given=given,
        jobs=jobs,
        resume=resume,
        again=again,
        solutions=solutions,
        platform=platform,
        timeout=timeout,
    )
    take_away = curriculum.root / "build" / "takeaway.zip" if out is None else out / "takeaway.zip"
    raise typer.Exit(session.replay(curriculum, plan, console, take_away))


@app.command()
def new(lab: Annotated[str, typer.Argument(help="The id of an entry in labs.toml.")]) -> None:
    """Write the first draft of a lab that labs.toml lists."""
    from labrunner import template

    curriculum = curricula.load()
    found = curriculum.get(lab)
    path = curriculum.source(found)
    if path.exists():
        raise LabError(
            f"Expected no file, found {path}. Edit it, then type `labs build {found.id}`."
        )
    notebook.save(path, template.draft(found))
    notebook.save(curriculum.notebook(found), notebook.build(curriculum, found))
    console.print(f"wrote  {path.relative_to(curriculum.root)}")


@app.command()
def doctor(
    platform: Annotated[
        Path | None, typer.Option(help="Look at a platform instead: its settings (NAME=value).")
    ] = None,
    students: Annotated[int, typer.Option(help="Is there room for so many?", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check what the labs need on this machine, or a platform, and say what to do about it."""
    from labrunner.doctor import examine

    if platform is not None:
        from labrunner.checkup.command import doctor as visit

        raise typer.Exit(visit(platform, students, as_json, console))

    missing = 0
    for found in examine():
        sign = "✓" if found.ok else "·" if found.optional else "✗"
        console.print(f"{sign} {found.name:<9} {found.found}")
        if not found.ok:
            console.print(f"            {found.cure}")
            missing += not found.optional
    if missing:
        raise LabError(f"{missing} things are missing; what to do stands below each of them.")


@app.command()
def prepare(lab: Annotated[str, typer.Argument(help="The lab to begin with.")]) -> None:
    """Bring the platform to the state a lab needs, by replaying what is missing."""
    from labrunner import learner

    curriculum = curricula.load()
    raise typer.Exit(learner.prepare(curriculum, curriculum.get(lab), console))


@app.command()
def reset(lab: Annotated[str, typer.Argument(help="The lab to undo.")]) -> None:
    """Undo a lab: run its clean-up and forget its checkpoints."""
    from labrunner import learner

    curriculum = curricula.load()
    raise typer.Exit(learner.reset(curriculum, curriculum.get(lab), console))


@app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def open_lab(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the sandbox running.")] = False,
) -> None:
    """Open JupyterLab on the labs with a platform behind it; more options go to JupyterLab."""
    from labrunner import jupyter

    root = curricula.load().root
    raise typer.Exit(jupyter.open_lab(root, keep=keep, arguments=tuple(context.args)))


app.command("class")(hold_class)


def main() -> None:
    """Run the command line; an error on purpose is one sentence and status 1."""
    try:
        app(standalone_mode=True)
    except LabError as error:
        print(f"labs: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(
            f"labs: Expected room to write{f' {error.filename}' if error.filename else ''}, found "
            f"none ({error.strerror}). Free some, or name another folder: `labs replay --out DIR`.",
            file=sys.stderr,
        )
        sys.exit(1)
