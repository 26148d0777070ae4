"""A registered MLflow model as a build: its files, and a function that asks it.

`python -m labapps.workbench.registered <name> <version>` brings a version from the tracking server
into a folder of builds and prints its digest. The digest is that of the model's files, so the same
version is kept once, whatever its number.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labapps.workbench import copies
from labapps.workbench.function import load
from labapps.workbench.layout import BUILDS, Layout
from labapps.workbench.registry import TARGET

__all__ = ["function"]

PROGRAM = '''"""Asks the model beside this file."""

from labapps.workbench.registered import function

predict = function(__file__)
'''
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def function(file: str) -> Callable[[Any], Any]:
    """Load the model beside a file; return the function that a call needs."""
    import mlflow  # 2 s, and only a replica of such a model needs it

    model = mlflow.pyfunc.load_model(str(Path(file).parent / "model"))

    def predict(request: Any) -> Any:
        """Answer one row, an object of columns, with one value; MLflow's forms with a list."""
        if not isinstance(request, dict) or not request:
            raise ValueError(
                'expected {"<column>": <value>, …} for one row, or one of these forms: '
                + ", ".join(FORMS)
            )
        form = next((name for name in FORMS if name in request), None)
        rows = rows_of(form, request[form]) if form else rows_of("dataframe_records", [request])
        found = plain(model.predict(rows))
        return found[0] if form is None and isinstance(found, list) else found

    return predict


def rows_of(form: str, value: Any) -> Any:
    """Return what a model is asked with."""
    import numpy
    import pandas

    if form == "dataframe_split":
        return pandas.DataFrame(value["data"], columns=value.get("columns"))
    if form == "dataframe_records":
        return pandas.DataFrame(value)
    if isinstance(value, dict):
        return {name: numpy.asarray(column) for name, column in value.items()}
    if value and isinstance(value[0], dict):
        return pandas.DataFrame(value)
    return numpy.asarray(value)


def plain(found: Any) -> Any:
    """Return an answer as JSON can hold it."""
    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        return json.loads(found.to_json(orient="records"))
    return found.tolist() if hasattr(found, "tolist") else found


def bring(layout: Layout, name: str, version: str) -> str:
    """Bring a version into the folder of builds; return its digest."""
    import mlflow

    draft = f".{secrets.token_hex(8)}"
    home = layout.folder(BUILDS)
    with layout.made(BUILDS) as builds:
        os.mkdir(draft, dir_fd=builds)
        try:
            place = layout.repository / "workbench" / BUILDS / draft
            found = mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{name}/{version}", dst_path=str(place / "files")
            )
            # By the name of its run a model lies deeper than by its own.
            marks = sorted(Path(found).rglob("MLmodel"), key=lambda path: len(path.parts))
            if not marks:
                raise SystemExit(f"Version {version} of {name} has no MLmodel: it is no model.")
            os.rename(marks[0].parent, place / "model")
            (place / "registered.py").write_text(PROGRAM)
            with home.opened([draft]) as folder:
                digest = copies.digest_of(folder)
            try:
                os.rename(draft, digest, src_dir_fd=builds, dst_dir_fd=builds)
            except OSError:
                if not layout.build(digest).is_dir():
                    raise
        finally:
            home.discard(draft)
    return digest


def main() -> None:
    layout, (name, version) = Layout.from_env(), sys.argv[1:]
    digest = bring(layout, name, version)
    unit = os.environ["WORKBENCH_UNIT"]
    layout.folder("runs", unit).write(["digest"], digest.encode())
    print(f"Version {version} of {name} is the build {digest}.")
    os.chdir(layout.build(digest))
    sys.path.insert(0, os.getcwd())
    # The import test of any build, in this process: the libraries are loaded already.
    load(layout.build(digest), TARGET)
    print(f"{TARGET} loads.")


if __name__ == "__main__":
    main()
