"""`labs data wine`, `houses`, `income`, `loans`: make a table of the labs, or take a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labdata.errors import DataError

__all__ = ["add_commands"]

NAMES = {
    "wine": "red wines, eleven measurements and a grade",
    "houses": "blocks of houses around a made-up bay",
    "income": "people, and whether they earn more than 50,000 a year",
    "loans": "loans, and whether they were charged off",
}

Rows = Annotated[int | None, typer.Option(help="How many; as many as the public set.", min=20)]
Seed = Annotated[int, typer.Option(help="The same seed writes the same bytes.", min=0)]
Out = Annotated[Path, typer.Option(help="The folder to write into.")]
Real = Annotated[Path | None, typer.Option(help="A real file of this kind, instead of making one.")]
Bias = Annotated[bool, typer.Option("--bias", help="Lower the chance of women, by a known amount.")]


def add_commands(app: typer.Typer) -> None:
    """Add one command for each table."""
    for name, what in NAMES.items():
        app.command(name, help=f"Write {what}; its best possible score is known.")(_command(name))


def _command(name: str):  # type: ignore[no-untyped-def]  # typer reads the signature
    def fair(
        rows: Rows = None, seed: Seed = 7, out: Out = Path("build"), real: Real = None
    ) -> None:
        _write(name, rows, seed, out, real, False)

    def switchable(
        rows: Rows = None,
        seed: Seed = 7,
        out: Out = Path("build"),
        real: Real = None,
        bias: Bias = False,
    ) -> None:
        _write(name, rows, seed, out, real, bias)

    return switchable if name == "income" else fair


def _write(
    name: str, rows: int | None, seed: int, out: Path, real: Path | None, bias: bool
) -> None:
    from labdata import tables  # pandas: other commands start without

    try:
        if real:
            path = tables.take_real(name, real, out)
        else:
            path = tables.write_sample(name, out, rows, seed, bias)
        best = tables.best_possible(name, out)
        lines = path.read_bytes().count(b"\n") - 1
    except (DataError, OSError) as error:
        typer.echo(f"labs data {name}: {error}", err=True)
        raise typer.Exit(1) from error
    known = ", ".join(f"{score} {value:.3f}" for score, value in best.items())
    typer.echo(f"{lines:,} rows: {path}")
    typer.echo(f"Best possible score: {known or 'unknown for a real file'}")
