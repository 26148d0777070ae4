"""`labs data`: the generators as commands."""

from labdata.commands import fleet, tables
from labdata.commands.taxi import app

__all__ = ["app"]

tables.add_commands(app)
fleet.add_command(app)
