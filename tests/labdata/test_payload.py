"""Requests of MLflow 1.x, and what they become."""

from __future__ import annotations

from typing import Any

import pytest

from labdata.payload import PayloadError, convert, is_old, of_csv

pytestmark = pytest.mark.fast
ROW, NAMES = [0.1, 7.0], ["acid", "alcohol"]
RECORD = {"acid": 0.1, "alcohol": 7.0}
SPLIT = {"dataframe_split": {"columns": NAMES, "data": [ROW]}}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "split": ({"columns": NAMES, "data": [ROW]}, SPLIT),
    "split with an index": ({"columns": NAMES, "index": ["x"], "data": [ROW]}, SPLIT),
    "split without names": ({"data": [ROW, ROW]}, {"inputs": [ROW, ROW]}),
    "split whose names are null": ({"columns": None, "data": [ROW]}, {"inputs": [ROW]}),
    "split whose names are numbers": ({"columns": [0, 1], "data": [ROW]}, {"inputs": [ROW]}),
    "split whose names are all one": (
        {"columns": ["features"] * 13, "data": [[float(n) for n in range(13)]]},
        {"inputs": [[float(n) for n in range(13)]]},
    ),
    "split with two columns of a name": (
        {"columns": ["a", "b", "a"], "data": [[1, 2, 3]]},
        {"inputs": [[1, 2, 3]]},
    ),
    "records": ([RECORD, RECORD], {"dataframe_records": [RECORD, RECORD]}),
    "records of different keys": (
        [{"a": 1}, {"b": 2}],
        {"dataframe_records": [{"a": 1}, {"b": 2}]},
    ),
    "rows": ([ROW, ROW], {"inputs": [ROW, ROW]}),
    "one column as a bare list": ([1, 2], {"inputs": [[1], [2]]}),
    "text in a bare list": (["a"], {"inputs": [["a"]]}),
}
MODERN = [
    SPLIT,
    {"dataframe_records": [RECORD]},
    {"inputs": {"acid": [0.1], "alcohol": [7.0]}},
    {"instances": [RECORD]},
    {"inputs": [ROW], "params": {"quantile": 0.9}},
]


@pytest.mark.parametrize("case", CASES)
def test_old_request_becomes_the_modern_one(case: str) -> None:
    sent, expected = CASES[case]
    assert is_old(sent)
    assert convert(sent) == expected


@pytest.mark.parametrize("document", MODERN)
def test_request_that_is_modern_already_stays_as_it_is(document: dict[str, Any]) -> None:
    assert not is_old(document)
    assert convert(document) is document


@pytest.mark.parametrize("case", CASES)
def test_converting_twice_is_converting_once(case: str) -> None:
    once = convert(CASES[case][0])
    assert convert(once) == once


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "an empty object"),
        ({"rows": [ROW]}, "found rows"),
        ({"columns": NAMES}, "found columns"),
        ({"columns": NAMES, "data": []}, "an empty list"),
        ({"columns": NAMES, "data": [ROW, [1]]}, "Row 1 of data: expected 2 values"),
        ({"columns": NAMES, "data": [RECORD]}, "Row 0 of data: expected a list; found an object"),
        ({"columns": "acid", "data": [ROW]}, "found text"),
        ({"columns": NAMES, "data": [ROW], "rows": 1}, "found rows, too"),
        ({"inputs": [ROW], "instances": [ROW]}, "found instances and inputs"),
        ([], "an empty list"),
        ([RECORD, ROW], "several kinds"),
        ([RECORD, 1], "several kinds"),
        ("text", "found text"),
        (None, "found null"),
        (True, "found true or false"),
    ],
)
def test_request_of_no_form_is_refused_with_what_was_found(document: Any, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        convert(document)


def test_csv_has_numbers_text_and_missing_values() -> None:
    found = of_csv('a,b,c\r\n1,"x, y",\r\n-2.5e1,1_000,nan\r\n')["dataframe_split"]
    assert found["columns"] == ["a", "b", "c"]
    assert found["data"] == [[1, "x, y", None], [-25.0, "1_000", None]]
    assert [type(value) for value in found["data"][0][:1]] == [int]


@pytest.mark.parametrize(
    ("text", "words"), [("", "found 0"), ("a,b\n", "found 1"), ("a,b\n1\n", "Row 0")]
)
def test_csv_without_rows_or_with_short_ones_is_refused(text: str, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        of_csv(text)
