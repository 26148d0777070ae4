"""Somebody of a directory does labs core-01 and core-02: signs in, deploys a notebook, opens it.

The platform has no account of this name: each password is checked by the LDAP server that
`labsandbox up --directory` starts, and the groups there give the role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labrunner import environments, sandbox
from labrunner.curriculum import load
from tests.labs.after import AFTER
from tests.labs.kernel import desk
from tests.labs.platform import Platform
from tests.labs.test_hardship import run_lab, surroundings
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(1200)]

CURRICULUM = load(ROOT)
Learner = tuple[dict[str, str], Platform]


@pytest.fixture(scope="module")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learner]:
    """Start a platform with a directory; return what anna's kernels have around them."""
    environments.ensure(ROOT, ["directory"], print)
    folder = tmp_path_factory.mktemp("directory-user")
    with sandbox.running(folder / "state", words=["--directory"]) as found:
        word = Path(found["EZMERAL_PASSWORD_FILE"]).with_name("anna")
        own = {
            "EZMERAL_USER": "anna",
            "EZMERAL_PASSWORD_FILE": str(word),
            "KUBECONFIG": str(folder / "home" / "kubeconfig"),
        }
        settings = found | own
        yield surroundings(folder / "home", settings), Platform(folder / "state", settings)


def test_lab_01_signs_in_by_the_directory_and_reads_the_groups(anna: Learner) -> None:
    around, platform = anna
    said = ""
    with desk(CURRICULUM, CURRICULUM.get("core/01"), around) as learner:
        for cell in learner.cells:
            text = cell.text
            if text.startswith("def groups_of("):  # a kernel sets getpass anew for each cell
                text = f"colleague, getpass.getpass = 'anna', lambda _: password('anna')\n{text}"
            result = learner.do(text)
            said += result.text + result.pages
    assert "cn=lake-members,ou=groups,dc=lake,dc=example" in said
    assert "lake-admins" not in said
    AFTER["core/01"](platform)


def test_lab_02_deploys_a_notebook_that_the_directorys_password_opens(anna: Learner) -> None:
    around, platform = anna
    run_lab("core/02", around)
    AFTER["core/02"](platform)
