"""The `labs` command: build, check, replay and look after the labs."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from labclass.command import hold_class
from labdata import commands
from labrunner import curriculum as curricula
from labrunner import notebook
from labrunner.console import console
from labrunner.errors import LabError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(commands.app, name="data")

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Of = Annotated[str | None, typer.Option("--workshop", help="Only this workshop, such as core.")]
Labs = Annotated[list[str] | None, typer.Argument(help="Ids such as core/03; all when absent.")]


@app.command("list")
def list_labs(workshop: Of = None) -> None:
    """List the workshops and their labs, in the order they are meant to be done."""
    curriculum = curricula.load()
    if workshop is not None:
        curriculum.workshop(workshop)
    for found, labs in curriculum.groups():
        if workshop not in (None, found and found.id):
            continue
        if found:
            console.print(f"{found.id}: {found.title}")
        for lab in labs:
            needs = f"  needs {', '.join(lab.needs)}" if lab.needs else ""
            console.print(f"{lab.id:<12} {lab.title:<40} {lab.minutes:>3} min  {lab.level}{needs}")


@app.command()
def build(labs: Labs = None) -> None:
    """Build notebooks, pictures, the README's table and the catalogue's lists from sources."""
    from labrunner import catalog, picture, readme

    curriculum = curricula.load()
    for drawn in picture.draw_all(curriculum.root):
        console.print(f"wrote  {drawn.relative_to(curriculum.root)}")
    for listed in catalog.save(curriculum.root):
        console.print(f"wrote  {listed.relative_to(curriculum.root)}")
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
    workshop: Of = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: name=value, repeatable.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Short for --set rows=N.")] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="A TOML, YAML or JSON file of parameters.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Labs at once; 2 if they fit.", min=1)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run broke.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run twice, compare both.")] = False,
    solutions: Annotated[bool, typer.Option("--solutions", help="Solve the exercises.")] = False,
    practice: Annotated[
        bool, typer.Option("--practice", help="See each blank fail, then its solution pass.")
    ] = False,
    platform: Annotated[
        Path | None, typer.Option(help="Settings of a platform that exists (NAME=value).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    timeout: Annotated[int, typer.Option(help="Seconds for one cell.", min=1)] = 3600,
) -> None:
    """Run labs headlessly and write build/replay/report.html."""
    from labrunner import session
    from labrunner.replay import Plan, labs_at_once
    from labrunner.settings import parse, read_file

    curriculum = curricula.load()
    given: dict[str, Any] = read_file(parameters) if parameters else {}
    given.update(parse(text) for text in set_ or ())
    if rows is not None:
        given["rows"] = rows
    plan = Plan(
        labs=curriculum.pick(only.split(",") if only else (), first, workshop),
        out=(out or curriculum.root / "build" / "replay").absolute(),
        given=given,
        jobs=jobs or labs_at_once(),
        resume=resume,
        again=again,
        solutions=solutions,
        practice=practice,
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
        from labclass.checkup.command import doctor as visit

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
def setup(
    names: Annotated[list[str], typer.Argument(help="Names of environments; see labs doctor.")],
) -> None:
    """Install named environments, such as `tracking`, beside the main one."""
    from labrunner import environments

    root = curricula.load().root
    for found in [environments.find(root, name) for name in names]:
        if found.is_installed:
            console.print(f"The environment {found.name} is {found.state}.")
        environments.ensure(root, [found.name], console.print)


@app.command()
def prepare(lab: Annotated[str, typer.Argument(help="The lab to begin with.")]) -> None:
    """Bring the platform to the state a lab needs, by replaying what is missing."""
    from labpanel import learner

    curriculum = curricula.load()
    raise typer.Exit(learner.prepare(curriculum, curriculum.get(lab), console))


@app.command()
def progress() -> None:
    """Show where you stand: the labs, your checkpoints, and whether the platform answers."""
    from labpanel import standing

    standing.show(curricula.load().root, console)


@app.command()
def reset(lab: Annotated[str, typer.Argument(help="The lab to undo.")]) -> None:
    """Undo a lab: run its clean-up and forget its checkpoints."""
    from labpanel import learner

    curriculum = curricula.load()
    raise typer.Exit(learner.reset(curriculum, curriculum.get(lab), console))


@app.command("open")
def open_copy(
    lab: Annotated[str, typer.Argument(help="The lab to open, such as core/04.")],
    start_over: Annotated[
        bool, typer.Option("--start-over", help="Begin with a new copy; the old one is kept.")
    ] = False,
    practice: Annotated[
        bool, typer.Option("--practice", help="The copy with cells that you fill in yourself.")
    ] = False,
) -> None:
    """Open your own copy of a lab in JupyterLab, which is started unless it is open."""
    from labpanel import copies, jupyter
    from labrunner import environments
    from labrunner import workshop as workshops

    curriculum = curricula.load()
    found, mine = curriculum.get(lab), copies.Copies(curriculum, copies.folder())
    environments.require_packages(curriculum.root, [workshops.of(found.id)])
    if practice:
        mine.require_practice(found)
    if start_over:
        aside = mine.start_over(found, practice=practice)
        kept = f" Your old copy is {aside}." if aside else ""
        shown = mine.notebook(found, practice=practice)
        console.print(f"{shown} is as it was released.{kept}")
    raise typer.Exit(jupyter.open_one(mine, found, practice=practice))


@app.command()
def licences() -> None:
    """List the licences of what is installed with the labs."""
    from labrunner import licences as stated

    root = curricula.load().root
    for one in stated.installed(root / "requirements.lock"):
        console.print(f"{one.package:<36} {one.version:<18} {one.licence}", highlight=False)


@app.command()
def guide(
    workshop: Annotated[str, typer.Argument(help="Which workshop, such as core.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the page goes.")] = None,
) -> None:
    """Write an instructor's guide: aims, pace, questions, troubles and all solutions."""
    from labclass import guide as guides
    from labrunner import files

    curriculum = curricula.load()
    replayed = guides.seconds_of(curriculum.root / "build" / "replay" / "report.json")
    text = guides.page(curriculum, workshop, replayed)
    place = out or curriculum.root / "build" / "guide" / f"{workshop}.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    files.write_private(place, text)
    console.print(f"wrote {place}; it holds the solutions, and only you can read it")


@app.command()
def finish(
    workshop: Annotated[str, typer.Argument(help="Which workshop, such as core.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the zip goes.")] = None,
    ask: Annotated[bool, typer.Option("--survey", help="Answer the three questions, too.")] = False,
) -> None:
    """Write your take-away of a workshop: notebooks with outputs, pages, your files, evidence."""
    from labpanel import copies, evidence, survey, takeaway

    curriculum = curricula.load()
    notebooks = copies.folder() / "notebooks"
    found = evidence.gather(curriculum, workshop, notebooks)
    zipped = takeaway.write(
        curriculum, found, notebooks, out or copies.folder() / f"{workshop}-take-away.zip"
    )
    for part in found.parts:
        console.print(f"{part.lab:<12} {part.passed} of {len(part.checkpoints)} checkpoints passed")
    for name, why in zipped.left.items():
        console.print(f"left out: {name}: {why}")
    console.print(f"wrote {zipped.path}, {len(zipped.names)} files", soft_wrap=True)
    console.print(f"evidence.json in it has the sha256 {found.digest}", soft_wrap=True)
    if ask:
        useful = typer.prompt(survey.QUESTIONS["useful"], type=int)
        pace = typer.prompt(f"{survey.QUESTIONS['pace']} ({', '.join(survey.PACES)})")
        change = typer.prompt(survey.QUESTIONS["change"], default="")
        survey.keep(workshop, useful, pace, change)
        console.print("Your answers are kept in your folder.")


@app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def open_lab(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the sandbox running.")] = False,
    checkout: Annotated[
        bool, typer.Option("--checkout", help="Open the checkout itself, as its authors do.")
    ] = False,
    workshop: Of = None,
    practice: Annotated[
        bool, typer.Option("--practice", help="Begin with the first lab that has a practice copy.")
    ] = False,
) -> None:
    """Open JupyterLab on your copies of the labs; options it does not know go to JupyterLab."""
    from labpanel import copies, jupyter

    curriculum = curricula.load()
    mine = None if checkout else copies.Copies(curriculum, copies.folder())
    labs = curriculum.labs_of(workshop) if workshop else curriculum.labs
    if practice and mine is not None:
        one = next((lab for lab in labs if mine.has_practice(lab)), labs[0])
        mine.require_practice(one)
        first = mine.path(one, practice=True)
    elif workshop is not None:
        first = curriculum.notebook(labs[0]).relative_to(curriculum.root).as_posix()
    else:
        first = jupyter.START
    arguments = tuple(context.args)
    raise typer.Exit(
        jupyter.open_lab(curriculum.root, mine, keep=keep, arguments=arguments, first=first)
    )


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
