"""Expressions of rules and policies: what they are worth, and how they fail."""

from __future__ import annotations

from typing import Any

import pytest

from labsandbox.apiserver import cel

pytestmark = pytest.mark.fast
OBJECT = {
    "metadata": {"name": "web-1", "labels": {"app": "web"}},
    "spec": {"replicas": 3, "cpu": "500m", "hosts": ["a.example", "b.example"], "on": True},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("object.spec.replicas <= 5", True),
        ("object.spec.replicas * 2 + 1", 7),
        ("has(object.spec.replicas) && !has(object.spec.missing)", True),
        ("object.spec.hosts.all(h, h.endsWith('.example'))", True),
        ("object.spec.hosts.exists_one(h, h == 'a.example')", True),
        ("object.spec.hosts.map(h, h.size())", [9, 9]),
        ("object.spec.hosts.filter(h, h.startsWith('b'))", ["b.example"]),
        ("'app' in object.metadata.labels", True),
        ("object.spec.on ? 'yes' : 'no'", "yes"),
        ("object.metadata.name.matches('^web-[0-9]+$')", True),
        ("object.metadata.name.split('-')[1]", "1"),
        ("'a,b'.replace(',', ';').upperAscii()", "A;B"),
        ("object.metadata.name.find('[0-9]+')", "1"),
        ("quantity(object.spec.cpu).isLessThan(quantity('1'))", True),
        ("isQuantity('1x')", False),
        ("[1, 2, 3].sum()", 6),
        ("[2, 1].isSorted()", False),
        ("['a', 'b'].indexOf('b')", 1),
        ("url('https://h.example:80/p?x=1').getHost()", "h.example:80"),
        ("ip('10.0.0.1').family()", 4),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("duration('90s') > duration('1m')", True),
        ("1 in [1, 2] || object.spec.missing == 1", True),
    ],
)
def test_expressions_have_the_value_kubernetes_gives_them(text: str, value: Any) -> None:
    assert cel.compile(text).evaluate({"object": OBJECT}) == value


@pytest.mark.parametrize("text", ["object.", "1 +", "foo(", "'open"])
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(cel.CelError):
        cel.compile(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("object.spec.missing == 1", "no such key: missing"),
        ("object.spec.hosts[9] == ''", "index out of bounds: 9"),
        ("1 / 0 == 1", "division by zero"),
    ],
)
def test_what_cannot_be_evaluated_says_why(text: str, said: str) -> None:
    with pytest.raises(cel.CelError, match=said):
        cel.compile(text).evaluate({"object": OBJECT})
