"""Every rule of the house holds for the checkout, and rejects what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrunner import code
from labrunner.curriculum import Lab
from labrunner.draft import Draft
from labrunner.source import Cell
from tests.repo import rules
from tests.repo.rules import RULES, Rule
from tests.repo.tree import Tree

pytestmark = pytest.mark.fast

# Pieces are joined here, so that this file keeps the rules it tests.
TOKEN = "ghp" + "_" + "a1B2" * 9
LONG_PICTURE = "<svg>" + " " * 103_000 + "</svg>"

BAD: list[tuple[Rule, dict[str, str], str]] = [
    (rules.secrets_are_absent, {"a.py": f"x = '{TOKEN}'"}, "a GitHub token"),
    (rules.secrets_are_absent, {"k.pem": "-----BEGIN " + "PRIVATE KEY-----"}, "a private key"),
    (rules.secrets_are_absent, {"u.md": "https://me:" + "pass@host/"}, "a password in an address"),
    (rules.index_addresses_are_absent, {"r.txt": "see https://pypi" + ".org/simple"}, "index"),
    (rules.index_addresses_are_absent, {"r.txt": "--index-url" + " https://x"}, "index"),
    (rules.index_addresses_are_absent, {"C": "FROM quay" + ".io/a/b"}, "index"),
    (rules.links_lead_somewhere, {"README.md": "[a page](docs/gone.md)"}, "docs/gone.md"),
    (rules.anchors_exist, {"README.md": "# One\n[two](#two)"}, "#two"),
    (rules.pictures_have_words, {"README.md": "![](house.svg)"}, "alt text"),
    (rules.pictures_have_words, {"README.md": "<img src='house.svg'>"}, "alt text"),
    (rules.pictures_are_small_and_used, {"Pictures/a.svg": "<svg/>"}, "shown nowhere"),
    (
        rules.pictures_are_small_and_used,
        {"Pictures/a.svg": LONG_PICTURE, "a.md": "a.svg"},
        "100 at most",
    ),
    (rules.modules_are_short, {"labrunner/long.py": "x = 1\n" * 401}, "401 lines"),
    (rules.modules_are_nouns, {"labrunner/utils.py": ""}, "named after nothing"),
    (rules.modules_are_nouns, {"labrunner/replay_v2.py": ""}, "dead file"),
    (rules.nothing_sleeps, {"a.py": "import time\ntime.sleep(3)"}, "a.py:2 sleeps"),
    (rules.nothing_sleeps, {"a.py": "async def f():\n    await asyncio.sleep(3)"}, "sleeps"),
    (rules.errors_are_not_swallowed, {"a.py": "try:\n    f()\nexcept:\n    g()"}, "everything"),
    (
        rules.errors_are_not_swallowed,
        {"a.py": "try:\n    f()\nexcept Exception as e:\n    print(e)"},
        "swallows",
    ),
    (rules.nothing_asks_where_it_runs, {"labhelpers/a.py": "if IS_" + "TESTING:"}, "taught"),
    (rules.certificates_are_verified, {"labhelpers/a.py": "get(u, verify=" + "False)"}, "off"),
    (rules.certificates_are_verified, {"README.md": "curl" + " -sk https://x"}, "off"),
    (rules.paths_are_portable, {"a.py": "open('/root" + "/x')"}, "one machine"),
    (rules.text_is_finished, {"a.md": "TO" + "DO: write"}, "finish it"),
    (rules.files_are_small, {"data.csv": "x" * 5 * 1024 * 1024}, "5 MB"),
    (rules.tests_say_what_they_show, {"tests/test_a.py": "def test_" + "it():\n    pass"}, "show"),
    (rules.modules_say_why, {"labhelpers/a.py": "x = 1"}, "why it exists"),
    (rules.modules_say_why, {"labhelpers/a.py": '"""A."""\ndef f():\n    pass'}, "no sentence"),
    (rules.modules_say_why, {"labapps/a.py": '"""A."""\n__all__ = ["gone"]'}, "does not exist"),
]


@pytest.fixture(scope="module")
def checkout() -> Tree:
    return Tree.of_checkout()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_checkout_keeps_the_rule(checkout: Tree, rule: Rule) -> None:
    assert list(rule(checkout)) == []


@pytest.mark.parametrize(
    ("rule", "files", "said"),
    BAD,
    ids=[f"{rule.__name__}-{at}" for at, (rule, *_) in enumerate(BAD)],
)
def test_bad_fixture_is_rejected(rule: Rule, files: dict[str, str], said: str) -> None:
    findings = list(rule(Tree.of(**files)))
    assert findings
    assert said in findings[0]


def test_finding_never_repeats_a_secret() -> None:
    assert TOKEN not in "".join(rules.secrets_are_absent(Tree.of(**{"a.py": TOKEN})))


def test_every_rule_has_a_bad_fixture() -> None:
    assert {rule.__name__ for rule in RULES} == {rule.__name__ for rule, *_ in BAD}


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("nothing_asks_where_it_runs", "where = 'IN_" + "SANDBOX'"),
        ("nothing_asks_where_it_runs", "is_" + "test = True"),
        ("certificates_are_verified", "get(url, verify" + "=False)"),
        ("certificates_are_verified", "command = 'curl -s" + "k https://x'"),
        ("certificates_are_verified", "context.check_hostname" + " = False"),
        ("certificates_are_verified", "mode = ssl.CERT_" + "NONE"),
        ("paths_are_portable", "open('/work" + "/x')"),
        ("paths_are_portable", "open('/Users" + "/ada/x')"),
        ("paths_are_portable", "open('C:" + "\\\\x')"),
    ],
)
def test_what_a_module_may_not_hold_a_lab_may_not_hold(rule: str, line: str) -> None:
    assert list(getattr(rules, rule)(Tree.of(**{"labhelpers/a.py": line})))
    cells = (Cell("code", line),)
    lab = Draft(Lab("toy/a", "toy/a", "Toy", "beginner", 5), Path(), Path(), cells, cells, ())
    assert list(getattr(code, rule)(lab))
