"""The replay's own checks: a faithful answer passes, every kind of unfaithful one is found."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.golden.comparison import Comparison, is_unstable
from tests.golden.filler import encode_body
from tests.golden.inference import infer_plan
from tests.golden.mapping import UID, Mapping
from tests.golden.recording import Area, Exchange, read_areas
from tests.golden.reduction import reduce
from tests.golden.setup import PLANS, Call
from tests.golden.webhook import answer_review
from tests.golden.wire import encode_query

pytestmark = pytest.mark.fast
AREAS = read_areas(Path(__file__).with_name("recordings"))


def elsewhere(answer: Any) -> Any:
    """The same answer as another server would give it: other uids, other versions."""
    text = UID.sub(lambda m: str(uuid.uuid5(uuid.NAMESPACE_DNS, m[0])), json.dumps(answer))
    return json.loads(
        re.sub(r'("resourceVersion": ")(\d+)', lambda m: f"{m[1]}{int(m[2]) + 1000}", text)
    )


def shared(area: Area) -> list[tuple[Exchange, list[Any]]]:
    """Each exchange and how its answer differs from the same one from elsewhere."""
    comparison = Comparison(Mapping())
    found = []
    for exchange in area.exchanges:
        live = elsewhere(exchange.answer)
        recorded, live = reduce(exchange.answer, live, "")
        if isinstance(recorded, dict) and set(recorded) >= {"kind", "name", "namespace"}:
            continue  # cut off while it was recorded; only its head is compared
        found.append((exchange, comparison.compare(recorded, live)))
    return found


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_runner_accepts_the_same_answers_from_elsewhere(area: Area) -> None:
    assert [(one.name, what) for one, what in shared(area) if what] == []


@pytest.mark.parametrize(
    ("recorded", "live", "path"),
    [
        ({"a": 1}, {"a": 2}, "/a"),
        ({"a": 1}, {}, "/a"),
        ({}, {"a": 1}, "/a"),
        ({"a": [1]}, {"a": [1, 2]}, "/a/(length)"),
        ({"a": "x"}, {"a": 1}, "/a"),
        ({"message": "no"}, {"message": "No"}, "/message"),
        (
            {"metadata": {"uid": "u", "resourceVersion": ""}},
            {"metadata": {"uid": "u"}},
            "/metadata/resourceVersion",
        ),
    ],
)
def test_runner_finds_a_difference(recorded: Any, live: Any, path: str) -> None:
    assert [one[0] for one in Comparison(Mapping()).compare(recorded, live)] == [path]


def versions(*pairs: tuple[str, str]) -> list[str]:
    comparison = Comparison(Mapping())
    found = []
    for recorded, live in pairs:
        found += comparison.compare(
            {"uid": "u", "resourceVersion": recorded}, {"uid": "u", "resourceVersion": live}
        )
    return [one[0] for one in found]


def test_runner_sees_a_version_that_should_have_stayed() -> None:
    assert versions(("5", "50"), ("5", "50"), ("6", "60")) == []
    assert versions(("5", "50"), ("5", "51")) == ["/resourceVersion"]
    assert versions(("5", "50"), ("6", "50")) == ["/resourceVersion"]


def test_runner_sees_an_exchanged_uid() -> None:
    first, second, live = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
    comparison = Comparison(Mapping())
    other = str(uuid.UUID(int=4))
    assert comparison.compare({"a": {"x": first}}, {"a": {"x": live}}) == []
    assert comparison.compare([{"y": first}], [{"y": live}]) == []
    assert comparison._walk(first, other, "/z")[0][0] == "/z"
    assert second != first


def test_runner_headers_of_interest_are_compared() -> None:
    comparison = Comparison(Mapping())
    found = comparison.compare_headers(
        {"Content-Type": "a", "Date": "x", "Etag": '"1"'}, {"Content-Type": "b", "Date": "y"}
    )
    assert [one[0] for one in found] == ["header Content-Type", "header Etag"]


def test_runner_substitutes_what_it_learned() -> None:
    mapping = Mapping()
    recorded = {"metadata": {"generateName": "a-", "name": "a-bcdfg", "resourceVersion": "7"}}
    mapping.learn(
        recorded, {"metadata": {"generateName": "a-", "name": "a-zzzzz", "resourceVersion": "70"}}
    )
    assert mapping.substitute("/x/a-bcdfg") == "/x/a-zzzzz"
    assert mapping.live_version(7, None) == 70
    assert mapping.live_version(5, None) == 5
    assert mapping.live_version(9000, 80) == 80 + 9000 - 7
    assert mapping.live_version(20, 90) == 90


def test_runner_unstable_paths_cover_what_is_below() -> None:
    assert is_unstable("/items/0/type", ("/items/0/type",))
    assert is_unstable("/a/0/b", ("/a/(length)",))
    assert is_unstable("/items/0/metadata/resourceVersion", ("/items/0/metadata/uid",))
    assert not is_unstable("/items/1/type", ("/items/0/type",))


def test_runner_fillers_are_made_again() -> None:
    assert encode_body({"k": "<5 bytes filler: xy...>"}) == b'{"k": "xyxyx"}'
    assert encode_body({"__len__": 6, "head": "ab"}) == b"abbbbb"
    assert encode_body({"__base64__": "AAE="}) == b"\x00\x01"
    assert encode_body(None) is None


def test_runner_queries_are_encoded_again() -> None:
    assert (
        encode_query("labelSelector=a in (b,c)&watch") == "labelSelector=a%20in%20%28b%2Cc%29&watch"
    )


def test_runner_infers_what_an_unknown_area_needs() -> None:
    """An area nobody described gets its namespaces, accounts and the objects it finds."""
    known = next(area for area in AREAS if area.name == "12-lists-paging-resourceversion")
    plan = infer_plan(known)
    calls = [step for step in plan.start if isinstance(step, Call)]
    assert any(call.path == "/api/v1/namespaces" for call in calls)
    assert any(call.path.endswith("/g12/serviceaccounts") for call in calls)
    found = [step for steps in plan.before.values() for step in steps if isinstance(step, Call)]
    assert any((call.body or {}).get("metadata", {}).get("name") == "i00" for call in found)


def test_runner_infers_the_writes_a_watch_saw() -> None:
    known = next(area for area in AREAS if area.name == "13-watch")
    plan = infer_plan(known)
    methods = [
        step.method
        for step in plan.during["no resourceVersion: current state as ADDED, then live"]
        if isinstance(step, Call)
    ]
    assert methods == ["POST", "PUT", "DELETE"]


def test_runner_plans_name_exchanges_that_exist() -> None:
    names = {area.name: {one.name for one in area.exchanges} for area in AREAS}
    for area, plan in PLANS.items():
        assert {*plan.before, *plan.during, *plan.headers} <= names[area], area


def test_runner_webhook_decides_as_the_recorded_one() -> None:
    def decide(name: str, path: str = "/validate") -> Any:
        return answer_review(path, {"request": {"uid": "u", "name": name}})

    assert decide("ok") == {"uid": "u", "allowed": True}
    assert decide("deny")["status"]["message"] == "name deny is not allowed"
    assert decide("http500") is None
    assert decide("x", "/mutate")["patchType"] == "JSONPatch"


def test_name_of_a_pod_in_the_digits_of_a_container_is_no_difference() -> None:
    comparison = Comparison(Mapping())
    recorded, live = (
        {"metadata": {"name": "db-0"}, "status": {"containerID": f"fake://5292fbeef2{end}-0"}}
        for end in ("a1", "db")
    )
    comparison.mapping.names["db-0"] = "db-0"
    assert comparison.compare(recorded, live) == []
