"""The command `labregress`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from labregress import job as jobs
from labregress import matrix as matrices
from labregress import merge as merging
from labregress import orphans, report, resolve, runner
from labregress.errors import BadMatrix, RegressError

__all__ = ["main"]

app = typer.Typer(
    help=(__doc__ or "").strip(), no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip

OUT = Path("build/regress")
Out = Annotated[Path, typer.Option("--out", help="The folder of the run.")]
Matrix = Annotated[Path, typer.Option("--matrix", help="Another versions.toml.")]
Versions = Annotated[list[str], typer.Option("--versions", help="A version; repeatable.")]
Cases = Annotated[list[str], typer.Option("--cases", help="A case; repeatable.")]


def main() -> None:
    """Run the command."""
    app()


def say(text: str) -> None:
    """Print at once: a log of a pod or of a pipeline is read while it grows."""
    print(text, flush=True)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of ours into its sentences and the status 2."""

    @functools.wraps(command)
    def tells(*words: Any, **more: Any) -> None:
        try:
            command(*words, **more)
        except RegressError as error:
            typer.echo(f"labregress: {error}", err=True)
            raise typer.Exit(2) from None

    return tells


@app.command()
@told
def run(
    versions: Versions = [],  # noqa: B006
    cases: Cases = [],  # noqa: B006
    protocols: Annotated[list[str], typer.Option("--protocols", help="Repeatable.")] = [],  # noqa: B006
    everything: Annotated[bool, typer.Option("--all", help="All seven versions.")] = False,
    index: Annotated[int, typer.Option(help="Only the version at this place of the list.")] = -1,
    matrix: Matrix = matrices.HERE / "versions.toml",
    out: Out = OUT,
    accepted: Annotated[Path | None, typer.Option(help="Default: OUT/accepted.json.")] = None,
    offline: Annotated[bool, typer.Option(help="Ask no index; the cache must have all.")] = False,
    again: Annotated[bool, typer.Option(help="Run finished cells, too.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the environments.")] = False,
    scratch: Annotated[Path | None, typer.Option(help="A folder on a local disk.")] = None,
) -> None:
    """Run the matrix, write the report, and end with 1 on a new failure."""
    table = matrices.load(matrix)
    if unknown := set(protocols) - set(matrices.PROTOCOLS):
        raise BadMatrix(
            f"Expected protocols among {', '.join(matrices.PROTOCOLS)}, found {sorted(unknown)}."
        )
    asked = tuple(protocols) or matrices.PROTOCOLS
    cells = table.cells(versions, cases, asked, everything=everything)
    if index >= 0:
        names = list(dict.fromkeys(cell.version.mlflow for cell in cells))
        if index >= len(names):
            raise BadMatrix(f"Expected an index below {len(names)}, found {index}.")
        cells = [cell for cell in cells if cell.version.mlflow == names[index]]
    how = {"offline": offline, "again": again, "keep": keep}
    rows = runner.run(cells, out, scratch=scratch, tell=say, **how)
    kept = accepted or out / "accepted.json"
    before = report.read(kept) if kept.is_file() else []
    found = report.write(rows, out, table.cures, before)
    passed = sum(row["status"] == "passed" for row in rows)
    say(f"{passed} of {len(rows)} rows passed. Report: {out / 'report.html'}")
    for one in found.new:
        row = next(row for row in rows if report.key(row) == one)
        cure = report.cure_of(row["error"], table.cures)
        say(
            f"new failure: {' '.join(one)}: {row['step']}: {row['error']}"
            + (f" [{cure}]" if cure else "")
        )
    for name, keys in (("known failure", found.known), ("mended", found.mended)):
        for one in keys:
            say(f"{name}: {' '.join(one)}")
    if not found.is_good:
        raise typer.Exit(1)


@app.command()
@told
def accept(out: Out = OUT, accepted: Path | None = None) -> None:
    """Make the last report the one that later runs are compared with."""
    report.read(out / "report.json")
    target = accepted or out / "accepted.json"
    shutil.copyfile(out / "report.json", target)
    say(f"Accepted: {target}")


@app.command()
@told
def merge(
    cases: Annotated[list[Path], typer.Argument(help="Folders of use cases.")],
    mlflow: Annotated[str, typer.Option(help="The version for cases that name none.")] = "",
    out: Out = OUT / "merge",
    lock: Annotated[bool, typer.Option(help="Resolve a lock with hashes, too.")] = True,
) -> None:
    """Merge environments of use cases; name every conflict, and end with 1 when there is one."""
    needs = [need for folder in cases for need in merging.read(folder)]
    if mlflow:
        needs.append(merging.Need("--mlflow", "mlflow", f"=={mlflow}"))
    found = merging.conflicts(needs)
    for conflict in found:
        say(f"conflict: {conflict}")
    if found:
        raise typer.Exit(1)
    out.mkdir(parents=True, exist_ok=True)
    (out / "merged.in").write_text(text := merging.merged(needs, mlflow))
    (out / "Containerfile").write_text(merging.containerfile())
    for folder in cases:
        shutil.copytree(folder, out / "cases" / folder.name, dirs_exist_ok=True)
    if lock:
        compiled = resolve.compiled(text)
        (out / "merged.lock").write_text(compiled.text)
        say(f"{len(compiled.entries)} packages are locked with hashes.")
    say(f"No conflict among {len(cases)} use cases: {out}")


@app.command()
@told
def lock(versions: Versions = [], matrix: Matrix = matrices.HERE / "versions.toml") -> None:  # noqa: B006
    """Resolve environments/regress/ again, with all pins and with each one taken out."""
    resolve.resolve(matrices.load(matrix), versions, tell=say)


@app.command()
@told
def job(
    versions: Versions = [],  # noqa: B006
    everything: Annotated[bool, typer.Option("--all", help="All seven versions.")] = False,
    image: Annotated[str, typer.Option(help="An image that has labregress.")] = "labs/regress:1.0",
    claim: Annotated[str, typer.Option(help="The claim for the results; empty: none.")] = "",
) -> None:
    """Print the manifest of an indexed Job that runs one version in each of its pods."""
    table = matrices.load()
    names = versions or [v.mlflow for v in table.versions if v.is_default or everything]
    table.cells(names)
    print(yaml.safe_dump(jobs.manifest(names, image, claim), sort_keys=False), end="")


@app.command()
@told
def clean(out: Out = OUT) -> None:
    """End what an earlier run left, and remove its environments."""
    with runner.one_at_a_time(out if out.is_dir() else _made(out)):
        left = orphans.end(out)
        shutil.rmtree(out / "environments", ignore_errors=True)
        shutil.rmtree(out / "scratch", ignore_errors=True)
    say(f"Ended {left} processes; removed environments and scratch of {out}.")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
