"""Turn what clients of MLflow 1.x send to a model into the form that MLflow 2 and 3 read.

1.x took a bare table: `{"columns": …, "data": …}` (pandas-split), a list of records
(pandas-records), or a list of rows. From 2.0 on a request names its form. The forms that both know,
`inputs`, `instances` and CSV, are left as they are. A table whose columns share a name cannot be
sent by name: its rows go by position.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from labdata.errors import PayloadError

__all__ = ["FORMS", "PayloadError", "are_names", "convert", "is_old", "of_csv"]

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
SPLIT = {"columns", "index", "data", "dtypes"}


def is_old(document: Any) -> bool:
    """Tell whether a parsed body has one of the forms of MLflow 1.x only.

    >>> is_old({"columns": ["a"], "data": [[1]]}), is_old([{"a": 1}]), is_old({"inputs": [[1]]})
    (True, True, False)
    """
    if isinstance(document, dict):
        return "data" in document and not any(form in document for form in FORMS)
    return isinstance(document, list)


def are_names(columns: list[Any]) -> bool:
    """Tell whether each column has a name of its own; numbers count the columns only."""
    return all(isinstance(name, str) for name in columns) and len(set(columns)) == len(columns)


def convert(document: Any) -> dict[str, Any]:
    """Return a parsed body in a form of MLflow 2 and 3; what is in one already stays as it is.

    >>> convert({"columns": ["a", "b"], "index": [7], "data": [[1, 2]]})
    {'dataframe_split': {'columns': ['a', 'b'], 'data': [[1, 2]]}}
    >>> convert([{"a": 1}, {"a": 2}])
    {'dataframe_records': [{'a': 1}, {'a': 2}]}
    >>> convert([[1, 2], [3, 4]])
    {'inputs': [[1, 2], [3, 4]]}
    >>> convert({"columns": ["x", "x"], "data": [[1, 2]]})
    {'inputs': [[1, 2]]}
    """
    if isinstance(document, list):
        return _of_list(document)
    if not isinstance(document, dict):
        raise PayloadError(f"Expected a JSON object or a list; found {_kind(document)}.")
    given = [form for form in FORMS if form in document]
    if len(given) == 1:
        return document
    if given:
        raise PayloadError(f"Expected one of {', '.join(FORMS)}; found {' and '.join(given)}.")
    if "data" in document:
        return _of_split(document)
    found = ", ".join(str(key) for key in document) or "an empty object"
    raise PayloadError(
        f"Expected one of {', '.join(FORMS)}, or columns and data as in MLflow 1.x; found {found}."
    )


def of_csv(text: str) -> dict[str, Any]:
    r"""Return a CSV body with a line of names in a form of MLflow 2 and 3.

    >>> of_csv("a,b\n1,x\n,2.5\n")
    {'dataframe_split': {'columns': ['a', 'b'], 'data': [[1, 'x'], [None, 2.5]]}}
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise PayloadError(f"Expected CSV; {error}.") from error
    if len(lines) < 2:
        raise PayloadError(f"Expected a line of names and lines of values; found {len(lines)}.")
    return convert({"columns": lines[0], "data": [[_value(one) for one in x] for x in lines[1:]]})


def _of_split(document: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(document) - SPLIT)
    if unknown:
        raise PayloadError(f"Expected columns, index and data; found {', '.join(unknown)}, too.")
    columns, data = document.get("columns"), document["data"]
    if not isinstance(data, list) or not data:
        raise PayloadError(f"Expected data to be a list of rows; found {_kind(data)}.")
    for number, row in enumerate(data):
        if not isinstance(row, list):
            raise PayloadError(f"Row {number} of data: expected a list; found {_kind(row)}.")
    if columns is None:
        return {"inputs": data}
    if not isinstance(columns, list):
        raise PayloadError(f"Expected columns to be a list of names; found {_kind(columns)}.")
    for number, row in enumerate(data):
        if len(row) != len(columns):
            raise PayloadError(
                f"Row {number} of data: expected {len(columns)} values, one a column; "
                f"found {len(row)}."
            )
    if not are_names(columns):
        return {"inputs": data}
    return {"dataframe_split": {"columns": columns, "data": data}}


def _of_list(rows: list[Any]) -> dict[str, Any]:
    if not rows:
        raise PayloadError("Expected a list of records or of rows; found an empty list.")
    if all(isinstance(row, dict) for row in rows):
        return {"dataframe_records": rows}
    if all(isinstance(row, list) for row in rows):
        return {"inputs": rows}
    if any(isinstance(row, dict | list) for row in rows):
        raise PayloadError("Expected records alone or rows alone; found a list of several kinds.")
    return {"inputs": [[value] for value in rows]}  # one column, as pandas reads it


def _value(text: str) -> Any:
    if not text or "_" in text:  # Python reads 1_000 as a number, nobody else does
        return text or None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None if math.isnan(number) else text
    return text


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "an empty list" if value == [] else "a list",
        str: "text",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number")
