"""New York yellow-cab trips of any number: made up, the same for the same seed, dirty as real ones.

The columns and their types are those of the files the city's Taxi and Limousine Commission
publishes, so a real month can stand in for a made-up one. `labs data taxi` writes them from the
command line; a notebook calls `make_trips`. What is true to life and what is not
is written in datasets/README.md.
"""

from labdata.taxi.city import Drift
from labdata.taxi.files import Order, write_trips
from labdata.taxi.trips import COLUMNS, SCHEMA
from labdata.taxi.zones import ZONES_FILE

__all__ = ["COLUMNS", "SCHEMA", "ZONES_FILE", "Drift", "Order", "write_trips"]
