"""`labs data taxi`: make New York taxi trips, as many as you like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from labdata.errors import DataError

__all__ = ["app"]

app = typer.Typer(help="Make data for the labs.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Make data for the labs."""


@app.command()
def taxi(
    rows: Annotated[int, typer.Option(help="How many trips.", min=1)] = 200_000,
    months: Annotated[int, typer.Option(help="Shared evenly over so many months.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="The same seed makes the same trips.", min=0)] = 7,
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("build/taxi"),
    start: Annotated[str, typer.Option(help="The first month.")] = "2024-01",
    format: Annotated[str, typer.Option(help="parquet or csv.")] = "parquet",
    part_rows: Annotated[int, typer.Option(help="Rows in a file, about.", min=1)] = 1_048_576,
    midtown_speed: Annotated[
        float, typer.Option(help="Drift: speed in midtown, 1 is no change.", min=0.1)
    ] = 1.0,
    fare: Annotated[float, typer.Option(help="Drift: fares, 1 is no change.", min=0.1)] = 1.0,
    airports: Annotated[
        float, typer.Option(help="Drift: rides from and to airports, 1 is no change.", min=0.1)
    ] = 1.0,
) -> None:
    """Write New York taxi trips in the city's own format: deterministic, and dirty as real ones."""
    from labdata.taxi import Drift, Order, write_trips  # pyarrow: other commands start without

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        disable=not sys.stderr.isatty(),
    )
    try:
        order = Order(
            rows, months, seed, start, format, part_rows, Drift(midtown_speed, fare, airports)
        )
        with bar:
            task = bar.add_task("trips", total=rows)
            files = write_trips(out, order, lambda made: bar.update(task, advance=made))
    except (DataError, ValueError, OSError) as error:
        typer.echo(f"labs data taxi: {error}", err=True)
        raise typer.Exit(1) from error
    size = sum(file.stat().st_size for file in files)
    typer.echo(
        f"{rows:,} trips in {len(files)} files, {size / 1e6:,.1f} MB: {out / 'trips'}\n"
        f"263 zones: {out / 'zones.csv'}"
    )
