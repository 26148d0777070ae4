"""Read the rows of a request: every accepted form ends as a list of rows, or as a Problem.

Published form: `{"use_scoring": true, "scoring_args": {…}}` (an object, or a list of them).
MLflow forms: dataframe_split, dataframe_records, instances, inputs, CSV, and what MLflow 1.x took
(`labdata.payload` converts it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import orjson

from labapps.web.asgi import Problem
from labdata import payload

__all__ = [
    "EXAMPLE",
    "check_names",
    "lists",
    "matrix",
    "parse",
    "rows_of_invocation",
    "rows_of_predict",
    "uses_scoring",
]

EXAMPLE = {"use_scoring": True, "scoring_args": {"feature": 1.0}}
MAX_ROWS = 100_000


def parse(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object."""
    found = _json(body)
    if not isinstance(found, dict):
        raise Problem(400, f"Expected a JSON object; found {_kind(found)}.", expected=EXAMPLE)
    return found


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = ""
        if b"NaN" in body or b"Infinity" in body:
            hint = " NaN and Infinity are not JSON: send null for a missing value."
        raise Problem(400, f"The body is not JSON: {error}.{hint}", expected=EXAMPLE) from error


def uses_scoring(document: dict[str, Any]) -> bool:
    """Accept JSON true and the text "true", as published clients send both."""
    return document.get("use_scoring") is True or (
        str(document.get("use_scoring")).strip().lower() == "true"
    )


def rows_of_predict(document: dict[str, Any]) -> list[Any]:
    """Return the rows of `scoring_args`."""
    if "scoring_args" not in document:
        raise Problem(
            400,
            f"Expected the key scoring_args; found {_keys(document)}.",
            expected=EXAMPLE,
        )
    args = document["scoring_args"]
    if isinstance(args, dict):
        return [args]
    if isinstance(args, list) and args:
        return args if isinstance(args[0], dict | list) else [args]
    raise Problem(
        422,
        f"Expected scoring_args to be an object, or a list of objects; found {_kind(args)}.",
        expected=EXAMPLE,
    )


def rows_of_invocation(body: bytes, is_csv: bool = False) -> tuple[list[Any], bool]:
    """Return the rows of a request in one of MLflow's forms, and whether it is one of 1.x."""
    try:
        if is_csv:
            return _rows(payload.of_csv(body.decode())), False
        document = _json(body)
        return _rows(payload.convert(document)), payload.is_old(document)
    except UnicodeDecodeError as error:
        raise Problem(400, f"Expected CSV in UTF-8; {error}.", expected="a,b\n1,2") from error
    except payload.PayloadError as error:
        raise Problem(
            400, str(error), expected={"dataframe_records": [{"feature": 1.0}]}
        ) from error


def _rows(document: dict[str, Any]) -> list[Any]:
    (form,) = (form for form in payload.FORMS if form in document)
    value = document[form]
    if form == "dataframe_split":
        if not isinstance(value, dict) or "data" not in value:
            raise Problem(422, "Expected dataframe_split to hold columns and data.")
        return _split(value)
    if isinstance(value, dict):  # inputs/instances as columns: {"a": [1, 2], "b": [3, 4]}
        columns = list(value.values())
        if not columns or columns[0] == []:
            raise Problem(422, f"Expected {form} to have columns with values; found none.")
        if not all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
            raise Problem(422, f"Expected the columns of {form} to be lists of one length.")
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if not isinstance(value, list) or not value:
        raise Problem(422, f"Expected {form} to be a list of rows; found {_kind(value)}.")
    return value if isinstance(value[0], dict | list) else [value]


def _split(value: dict[str, Any]) -> list[Any]:
    data, columns = value.get("data"), value.get("columns")
    if not isinstance(data, list) or not data or not all(isinstance(r, list) for r in data):
        raise Problem(422, "Expected data to be a list of lists, one for each row.")
    if columns is None:
        return data
    if not isinstance(columns, list) or any(len(r) != len(columns) for r in data):
        count = len(columns) if isinstance(columns, list) else "as many"
        raise Problem(422, f"Expected each row of data to have {count} values as columns.")
    if not payload.are_names(columns):  # two columns of one name cannot be told apart by it
        return data
    return [dict(zip(columns, row, strict=True)) for row in data]


def matrix(rows: Sequence[Any], names: Sequence[str], width: int | None, missing: bool) -> Any:
    """Return the rows as a float64 matrix in the model's order; a Problem names what is wrong."""
    import numpy

    if len(rows) > MAX_ROWS:
        raise Problem(413, f"{len(rows)} rows; at most {MAX_ROWS} are taken in one request.")
    table = lists(rows, names, width)
    try:
        found = numpy.array(table)
    except ValueError as error:
        raise _wrong(table, names) from error
    if found.dtype.kind not in "fiub":
        if not missing or found.dtype.kind != "O":
            raise _wrong(table, names)
        _check(table, names)
        found = numpy.array(table, dtype=numpy.float64)
    if found.ndim != 2:
        raise _wrong(table, names)
    return found.astype(numpy.float64, copy=False)


def lists(rows: Sequence[Any], names: Sequence[str], width: int | None) -> list[Any]:
    """Return the rows as lists of values in the order of `names`."""
    if isinstance(rows[0], dict):
        if not names:
            raise Problem(
                422,
                "The model does not name its features, so their order is unknown.",
                expected=f"rows as lists of {width or 'all'} numbers in the order of training, or "
                "the key features in the model's ConfigMap",
            )
        get = itemgetter(*names)
        try:
            found = [get(row) for row in rows]
        except (KeyError, TypeError) as error:
            raise _missing(rows, names) from error
        return found if len(names) > 1 else [[value] for value in found]
    need = width or (len(names) or None)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or (need is not None and len(row) != need):
            size = len(row) if isinstance(row, list) else _kind(row)
            raise Problem(
                422,
                f"Row {number}: expected a list of {need} numbers; found {size}.",
                expected=list(names) or f"{need} numbers",
            )
    return list(rows)


def _missing(rows: Sequence[Any], names: Sequence[str]) -> Problem:
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            return Problem(
                422,
                f"Row {number}: expected an object; found {_kind(row)}.",
                expected=list(names),
            )
        gone = [name for name in names if name not in row]
        if gone:
            return Problem(
                422,
                f"Row {number}: the feature {gone[0]} is missing."
                if len(gone) == 1
                else f"Row {number}: the features {', '.join(gone)} are missing.",
                missing=gone,
                unknown=[key for key in row if key not in names],
                expected=list(names),
            )
    return Problem(422, "The rows do not fit the model.", expected=list(names))


def check_names(rows: Sequence[Any], names: Sequence[str]) -> None:
    """Raise a Problem when a row lacks one of the features."""
    wanted = set(names)
    if not all(isinstance(row, dict) and wanted <= row.keys() for row in rows):
        raise _missing(rows, names)


def _check(table: Sequence[Any], names: Sequence[str]) -> None:
    problem = _wrong(table, names, nulls=True)
    if problem.status:
        raise problem


def _wrong(table: Sequence[Any], names: Sequence[str], *, nulls: bool = False) -> Problem:
    for number, values in enumerate(table):
        for place, value in enumerate(values):
            name = names[place] if place < len(names) else f"value {place}"
            if value is None and nulls:
                continue
            if not isinstance(value, int | float):
                return Problem(
                    422,
                    f"Row {number}: expected a number for {name}; found {_kind(value)}.",
                    expected={name: "a number"},
                )
            if isinstance(value, float) and not math.isfinite(value):
                return Problem(422, f"Row {number}: {name} is not a finite number.")
    return Problem(0 if nulls else 422, "The rows are not all of one length.")


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        type(None): "null",
    }
    kind = names.get(type(value), "a number")
    return f'the text "{value[:40]}"' if isinstance(value, str) else kind


def _keys(document: dict[str, Any]) -> str:
    return ", ".join(sorted(document)[:10]) or "an empty object"
