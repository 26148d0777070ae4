"""`labs data fleet`: make days of a fleet of lorries, of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labdata.errors import DataError

__all__ = ["add_command"]

Devices = Annotated[int, typer.Option(help="How many; each sends 1,440 rows a day.", min=1)]
Days = Annotated[int, typer.Option(help="How many, from 2 March 2026 on.", min=1, max=600)]
Seed = Annotated[int, typer.Option(help="The same seed writes the same bytes.", min=0)]
Out = Annotated[Path, typer.Option(help="The folder to write into.")]


def add_command(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="fleet")(fleet)


def fleet(devices: Devices = 40, days: Days = 1, seed: Seed = 7, out: Out = Path("build")) -> None:
    """Write positions and signals of a fleet, with patterns planted in known places."""
    from labdata.fleet import read_truth, write_fleet  # pyarrow: other commands start without

    try:
        files = write_fleet(out, devices, days, seed)
        truth = read_truth(out / "fleet")
    except (DataError, OSError) as error:
        typer.echo(f"labs data fleet: {error}", err=True)
        raise typer.Exit(1) from error
    size = sum(file.stat().st_size for file in files)
    rows = devices * days * 1440
    typer.echo(f"{rows:,} rows in {len(files)} files, {size / 1e6:,.1f} MB: {out / 'fleet'}")
    typer.echo(f"Best possible AUC of a failure model: {truth['failure_auc']:.3f}")
