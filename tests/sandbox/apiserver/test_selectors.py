"""Label and field selectors: what they choose, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from labsandbox.apiserver.selectors import field_reader, matches, parse_fields, parse_labels
from labsandbox.apiserver.status import StatusError

pytestmark = pytest.mark.fast

CHOSEN = [
    ("a=1", {"a": "1"}, True),
    ("a==1", {"a": "1"}, True),
    ("a=1", {"a": "2"}, False),
    ("a=1", {}, False),
    ("a!=1", {}, True),
    ("a!=1", {"a": "1"}, False),
    ("a", {"a": ""}, True),
    ("!a", {"a": ""}, False),
    ("!a", {}, True),
    ("a in (1,2)", {"a": "2"}, True),
    ("a in (1,2)", {"a": "3"}, False),
    ("a notin (1,2)", {"a": "3"}, True),
    ("a notin (1,2)", {}, True),
    ("a in (1),b", {"a": "1", "b": ""}, True),
    ("a in (1),b", {"a": "1"}, False),
    ("a>5", {"a": "6"}, True),
    ("a<5", {"a": "6"}, False),
    ("a=", {"a": ""}, True),
    ("x.io/y=z", {"x.io/y": "z"}, True),
    ("", {"a": "1"}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), CHOSEN)
def test_selector_chooses(text: str, labels: dict[str, str], expected: bool) -> None:
    assert matches(parse_labels(text), labels) is expected


WRONG = ["a b", "a in (a", "a in", "=1", "a=1,", "a in ()x", "bad key!", "a=-", "a>x", "(", ","]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_selector_is_a_bad_request(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_labels(text)
    assert caught.value.code == 400


def test_field_selector_is_split_and_unescaped() -> None:
    assert parse_fields(r"metadata.name=a\,b,spec.x!=c\=d") == [
        ("metadata.name", True, "a,b"),
        ("spec.x", False, "c=d"),
    ]


def test_unknown_field_is_a_bad_request() -> None:
    with pytest.raises(StatusError) as caught:
        field_reader("configmaps", None, "zz")
    assert '"zz" is not a known field selector' in caught.value.message
    with pytest.raises(StatusError) as caught:
        field_reader("pods", None, "zz")
    assert caught.value.message == "field label not supported: zz"


def test_field_reader_reads_missing_values_as_empty() -> None:
    assert field_reader("pods", None, "spec.nodeName")({}) == ""
    assert field_reader("nodes", None, "spec.unschedulable")({"spec": {}}) == "false"
