"""Where the committed samples are."""

from __future__ import annotations

import os
from pathlib import Path

from labdata.errors import DataUnreadable

__all__ = ["datasets"]


def datasets() -> Path:
    """Return the folder with the committed samples: LABS_DATASETS, or the checkout's."""
    named = os.environ.get("LABS_DATASETS")
    places = [Path(named)] if named else [Path(__file__).parent.parent, *Path.cwd().parents]
    for place in places:
        folder = place if named else place / "datasets"
        if (folder / "README.md").is_file():
            return folder
    raise DataUnreadable(
        f"Expected the folder datasets in {places[0]}, found none; "
        "set LABS_DATASETS to the folder `datasets` of the checkout."
    )
