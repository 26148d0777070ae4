"""A fleet of lorries: positions, signals and failures of any number of devices, made up.

Same seed, same bytes; a device's day depends on the seed, the device and the day alone, so Spark
can make device k anywhere. Patterns are planted in known places; the truth about them is in a file
of its own that checks read and labs do not. datasets/README.md says what is planted.
"""

from labdata.fleet.failures import best_auc, failures_of, truths_of
from labdata.fleet.files import (
    find_fleet,
    read_events,
    read_truth,
    write_fleet,
)
from labdata.fleet.rows import COLUMNS, batch_of, day_of, device_name

__all__ = ["COLUMNS", "batch_of", "best_auc", "day_of", "device_name", "failures_of", "find_fleet",
           "read_events", "read_truth", "truths_of", "write_fleet"]  # fmt: skip
