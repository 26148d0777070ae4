"""The data of the labs, as a lab names them; they are made and read in `labdata`."""

from labdata import fleet
from labdata.loans import batch as make_batch
from labdata.loans import make as make_loans
from labdata.samples import datasets
from labdata.stream import deliveries, tear_last_page
from labdata.taxi import Drift
from labdata.taxi.loader import find_trips, make_trips, read_trips, zones_file

__all__ = ["Drift", "datasets", "deliveries", "find_trips", "fleet", "make_batch", "make_loans",
           "make_trips", "read_trips", "tear_last_page", "zones_file"]  # fmt: skip
