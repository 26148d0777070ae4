"""A request that asks for much work neither stops nor outlasts the requests of others."""

from __future__ import annotations

import psutil
import pytest

from labsandbox.apiserver import status
from labsandbox.apiserver.patch import apply_json_patch
from labsandbox.apiserver.schema import YamlError
from labsandbox.apiserver.schema import json as schema_json
from labsandbox.apiserver.schema import yaml as schema_yaml
from labsandbox.apiserver.status import StatusError
from labsandbox.apiserver.validation.meta import validate_meta
from labsandbox.apiserver.verbs.manage import drop_repeated_owners
from tests.attack import documents
from tests.attack.bombs import BOMBS
from tests.attack.neighbour import Bomb, set_off
from tests.sandbox.conftest import ApiServer

MOST_WORK = 30.0
"""Seconds of processor time that the largest of these requests may take on a slow machine."""
FEW = ("JSON patch: copies that double", "YAML: merge keys", "CEL: four", "role of 27")


def _marked(bomb: Bomb) -> object:
    is_quick = bomb.name.startswith(FEW)
    return pytest.param(
        bomb, id=bomb.name, marks=pytest.mark.sandbox if is_quick else pytest.mark.nightly
    )


@pytest.mark.parametrize("bomb", [_marked(bomb) for bomb in BOMBS])
def test_work_of_a_request_is_bounded_and_others_are_answered(
    server: ApiServer, bomb: Bomb
) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    waits, statuses = set_off(server, bomb)
    after = process.cpu_times()
    work = after.user + after.system - before.user - before.system
    assert statuses != [0], "the connection was closed without an answer"
    assert 200 <= statuses[0] < 500
    assert work < MOST_WORK
    # While a large one is worked on, the neighbour is answered again and again.
    assert len(waits.seconds) > 1
    assert max(waits.work) < 2 + work / 2


@pytest.mark.fast
def test_copies_of_a_json_patch_are_counted() -> None:
    rows = [{"op": "copy", "from": "/x", "path": f"/x/k{step}"} for step in range(24)]
    with pytest.raises(StatusError) as refused:
        apply_json_patch({"x": {"k": "v" * 100}}, rows)
    assert refused.value.code == 422
    assert apply_json_patch({"x": {"k": "v"}}, rows[:3])["x"]["k0"] == {"k": "v"}


@pytest.mark.fast
@pytest.mark.parametrize("field", ["labels", "annotations", "finalizers"])
def test_many_mistakes_are_told_as_far_as_anybody_reads(field: str) -> None:
    names = [f"-l{number}-" for number in range(20_000)]
    value = names if field == "finalizers" else dict.fromkeys(names, "v")
    meta = {"name": "x", "namespace": "n", field: value}
    found = validate_meta(meta, True, lambda name, prefix: [])
    causes = status.invalid("", "ConfigMap", "x", found).body()["details"]["causes"]
    assert len(causes) == status.MOST_CAUSES
    if field != "finalizers":
        assert len(found) == status.MOST_CAUSES


class Counted(dict[str, str]):
    """An owner that counts how often it is compared with another one."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.fast
def test_owners_are_not_compared_each_with_all_before_it() -> None:
    names = [f"p{number}" for number in range(3_000)]
    owners = [Counted(kind="Pod", name=name, uid=f"u-{name}") for name in [*names, "p7"]]
    obj = {"metadata": {"ownerReferences": owners}}
    warnings: list[str] = []
    drop_repeated_owners(obj, warnings)
    assert len(obj["metadata"]["ownerReferences"]) == 3_000
    assert "u-p7" in warnings[0]
    assert Counted.compared <= len(owners)


@pytest.mark.fast
def test_json_patch_moves_copy_nothing_and_keep_what_they_move() -> None:
    rows = [{"op": "move", "from": "/a", "path": "/b"}, {"op": "copy", "from": "/b", "path": "/c"}]
    found = apply_json_patch({"a": {"k": ["v"]}}, rows)
    assert found == {"b": {"k": ["v"]}, "c": {"k": ["v"]}}
    assert found["b"]["k"] is not found["c"]["k"]


@pytest.mark.fast
@pytest.mark.parametrize("make", [documents.yaml_laughs, documents.yaml_merges])
def test_aliases_that_repeat_too_much_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(YamlError, match="excessive aliasing"):
        schema_yaml.loads(make().body)


@pytest.mark.fast
@pytest.mark.parametrize("digits", [309, 400, 5_000])
def test_whole_numbers_that_no_float_holds_are_refused(digits: int) -> None:
    with pytest.raises(schema_json.JsonError, match="cannot unmarshal number 999"):
        schema_json.loads(b'{"n": %b}' % (b"9" * digits))
    assert schema_json.loads(b'{"n": 1%b}' % (b"0" * 300))[0] == {"n": 1e300}


@pytest.mark.fast
def test_aliases_are_read() -> None:
    text = b"a: &a {k: v}\nb: *a\nc: {<<: *a, l: w}\n"
    assert schema_yaml.loads(text)[0] == {
        "a": {"k": "v"},
        "b": {"k": "v"},
        "c": {"k": "v", "l": "w"},
    }


@pytest.mark.fast
@pytest.mark.parametrize(
    "expression",
    [
        "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))",
        "t.replace('', t).replace('', t).replace('', t) == ''",
        "l.map(a, t).join(t) + l.map(a, t + t + t).join(t) == ''",
    ],
)
def test_expressions_have_a_budget(expression: str) -> None:
    from labsandbox.apiserver import cel

    variables = {"l": list(range(100)), "t": "x" * 5_000}
    with pytest.raises(cel.CelError, match="cost limit exceeded"):
        cel.compile(expression).evaluate(variables)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("expression", "says"),
    [("(" * 200 + "true" + ")" * 200, "recursion limit"), ("true || " * 5_000 + "true", "size")],
)
def test_expressions_that_take_long_to_read_are_refused(expression: str, says: str) -> None:
    from labsandbox.apiserver import cel

    with pytest.raises(cel.CelError, match=says):
        cel.compile(expression)
