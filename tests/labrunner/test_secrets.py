"""The secrets of a run are known from its files and environment, and found in any text."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrunner import secrets

pytestmark = pytest.mark.fast

# A token's shape, in pieces, so that no scanner takes this file for a leak.
JWT = ".".join(("ey" + "JhbGciOiJSUzI1NiJ9", "ey" + "JzdWIiOiJzdHVkZW50MSJ9", "c2lnbmF0dXJl" * 3))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    private = {
        "passwords/student1": "not a secret, too many words",
        "password": "correct-horse-battery",
        "credentials.csv": "user,password\nstudent1,swordfish-in-a-sheet\n",
        "admin.conf": f"users:\n- user:\n    token: {'t' * 30}\n    client-key-data: {'k' * 60}\n",
        "pki/ca.key": "-----BEGIN " + f"PRIVATE KEY-----\n{'A' * 64}\n-----END PRIVATE KEY-----\n",
    }
    for name, text in private.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    (tmp_path / "password.txt").write_text("everybody-may-read-this")
    return tmp_path


def test_private_files_give_their_secrets(state: Path) -> None:
    assert secrets.of_run(state, {}) == {
        "correct-horse-battery",
        "swordfish-in-a-sheet",
        "t" * 30,
        "k" * 60,
        "A" * 64,
    }


def test_environment_gives_its_secrets_and_the_files_it_names(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("swordfish-in-a-file\n")
    environment = {
        "EZMERAL_PASSWORD_FILE": str(tmp_path / "password"),
        "JUPYTER_TOKEN": "a-token-in-the-air",
        "SHORT_TOKEN": "abc",
        "HOME": "/nowhere/special",
    }
    found = secrets.of_run(tmp_path / "none", environment)
    assert found == {"swordfish-in-a-file", "a-token-in-the-air"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("so: correct-horse-battery!", "a secret of this run (21 characters)"),
        (f"Bearer {JWT}", "a JSON web token"),
        ("AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key"),
        ("'authToken': '" + "0a1b" * 8 + "'}", "an engine's token"),
        (
            '{\\"kubedirector.hpe.com/kd-auth-token\\": \\"' + "0a1b" * 8 + '\\"}',
            "an engine's token",
        ),
    ],
)
def test_secret_in_a_text_is_found_and_not_repeated(text: str, said: str) -> None:
    found = secrets.search(text, ["correct-horse-battery"])
    assert found == [said]
    assert "horse" not in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "https://host:443/path",
        "spark://${USER}:${PASS}@host",
        "token: ask your instructor",
        "authToken: none",
    ],
)
def test_innocent_text_is_left_alone(text: str) -> None:
    assert secrets.search(text, []) == []
