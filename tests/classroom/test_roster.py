"""Who is in a class: nobody is lost, nobody is renamed, and what does not fit is said."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from labclass import cards, place, prepare, roster
from labclass.command import address_of
from labclass.prepare import ClassOptions
from labclass.roster import BadClass, Folder, Person
from labrunner.errors import PlatformFailed

pytestmark = pytest.mark.fast


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "class")
    made.make()
    return made


def begin(folder: Folder, students: int) -> list[Person]:
    people, _ = prepare.enrol(folder, ClassOptions(students))
    roster.write_sheet(folder, people, "http://127.0.0.1:8000")
    return people


def test_sheet_keeps_names_and_passwords_when_students_are_added(folder: Folder) -> None:
    first = begin(folder, 2)
    second = begin(folder, 4)
    assert second[:3] == first
    assert [person.name for person in second[3:]] == ["student3", "student4"]
    assert len({person.password for person in second}) == 5


def test_fewer_students_remove_nobody_and_it_is_said(folder: Folder) -> None:
    begin(folder, 3)
    people, notes = prepare.enrol(folder, ClassOptions(1))
    assert len(people) == 4
    assert "nobody was removed" in notes[0]
    assert "labs class --students 3" in notes[0]


def test_names_on_a_sheet_written_by_hand_come_first(folder: Folder) -> None:
    folder.sheet.write_text("name,password\nzoe,a-password\n")
    people, _ = prepare.enrol(folder, ClassOptions(2))
    assert [person.name for person in people] == ["instructor", "zoe", "student1"]


@pytest.mark.parametrize("students", [0, -1, 201, 1000])
def test_number_of_students_that_makes_no_class_is_refused(folder: Folder, students: int) -> None:
    with pytest.raises(BadClass, match=f"Expected 1 to 200 students, found {students}. Type `labs"):
        prepare.enrol(folder, ClassOptions(students))


def test_first_call_needs_a_number(folder: Folder) -> None:
    with pytest.raises(BadClass, match="found no number, and no class yet"):
        prepare.enrol(folder, ClassOptions(None))


@pytest.mark.parametrize("prefix", ["Student", "a b", "1st", "a" * 30, "../x", ""])
def test_prefix_that_kubernetes_would_refuse_is_refused(folder: Folder, prefix: str) -> None:
    with pytest.raises(BadClass, match="--prefix"):
        prepare.enrol(folder, ClassOptions(2, prefix=prefix))


def test_other_tenants_than_at_first_are_refused(folder: Folder) -> None:
    folder.facts.write_text('{"tenants": "own"}')
    with pytest.raises(BadClass, match="--tenants own"):
        prepare.enrol(folder, ClassOptions(2, tenants=prepare.SHARED))


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("my only copy")
    with pytest.raises(BadClass, match="found other files"):
        Folder(tmp_path).make()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_folder_of_a_class_on_another_platform_is_refused(tmp_path: Path) -> None:
    known = {"url": "https://a:8080", "own": False}
    with pytest.raises(BadClass, match=r"https://a:8080, found https://b:8080"):
        place.check_same(known, "https://b:8080", False, tmp_path)
    with pytest.raises(BadClass, match="found a platform of its own"):
        place.check_same(known, "https://127.0.0.1:1", True, tmp_path)
    place.check_same({"url": "https://127.0.0.1:1", "own": True}, "https://x:2", True, tmp_path)


def test_damaged_facts_say_what_to_do(folder: Folder) -> None:
    folder.facts.write_text("{half")
    with pytest.raises(BadClass, match="Delete that one file"):
        prepare.enrol(folder, ClassOptions(2))


@pytest.mark.parametrize("line", ["Zoe,secret", "zoe,", ",secret", "zoe/..,secret"])
def test_line_of_the_sheet_that_cannot_be_used_is_named(folder: Folder, line: str) -> None:
    folder.sheet.write_text(f"name,password\nann,fine-password\n{line}\n")
    with pytest.raises(BadClass, match="in line 3 of") as refused:
        roster.read_sheet(folder)
    assert "secret" not in str(refused.value)


def test_everything_is_closed_to_others(folder: Folder) -> None:
    begin(folder, 1)
    closed = [folder.root, folder.attendance, folder.hub, folder.root / "homes", folder.sheet]
    assert [path.stat().st_mode & 0o77 for path in closed] == [0] * len(closed)


def test_second_call_in_the_same_folder_waits_for_nobody(folder: Folder) -> None:
    with folder.held():
        program = "import sys; from pathlib import Path\n"
        program += "from labclass.roster import Folder\n"
        program += "with Folder(Path(sys.argv[1])).held(): pass"
        words = [sys.executable, "-c", program, str(folder.root)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert "found another `labs class` at work there" in done.stderr


def settings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ca.crt").write_text("a certificate")
    return {
        "EZMERAL_URL": "https://127.0.0.1:1",
        "EZMERAL_CA": str(tmp_path / "ca.crt"),
        "EZMERAL_TENANT": "K8sMLTenant",
        "EZMERAL_PASSWORD_FILE": "/somewhere",
        "EZMERAL_ADMIN_PASSWORD_FILE": "/elsewhere",
        "LABSANDBOX_STATE": str(tmp_path),
        "PROJECT_REPO": "/mnt/{namespace}/{user}",
        "PYTHONPATH": "/platform/resolver:/checkout",
        "CURL_HOME": "/platform/resolver",
        "PATH": "/bin",
    }


def test_settings_of_a_learner_hold_no_password_and_no_place_of_others(tmp_path: Path) -> None:
    zoe = Person("zoe", "her-password", "Team-zoe", namespace="team-zoe")
    found = place.of_learner(settings(tmp_path), zoe, tmp_path / "homes" / "zoe", {})
    assert found["PROJECT_REPO"] == "/mnt/team-zoe/zoe"
    assert (found["EZMERAL_USER"], found["EZMERAL_TENANT"]) == ("zoe", "Team-zoe")
    assert found["PYTHONPATH"] == "/platform/resolver", "the checkout is the hub's business"
    assert found["KUBECONFIG"] == str(tmp_path / "homes" / "zoe" / ".kube" / "config")
    assert "her-password" not in "".join(found.values())
    assert not {name for name in found if "PASSWORD" in name or name in ("PATH", place.STATE)}


def test_unknown_password_of_the_administrator_says_where_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(tmp_path) | {"EZMERAL_ADMIN_PASSWORD_FILE": ""}
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody to ask
    with pytest.raises(PlatformFailed, match="EZMERAL_ADMIN_PASSWORD_FILE=…"):
        place.administrator(given)
    (tmp_path / "credentials.csv").write_text("user,password\nadmin,known\n")
    assert place.administrator(given) == ("admin", "known")


def test_platform_without_its_certificate_is_refused(tmp_path: Path) -> None:
    given = settings(tmp_path) | {"EZMERAL_CA": str(tmp_path / "gone.crt")}
    with pytest.raises(PlatformFailed, match="found no such file"):
        place.check(given)


def test_card_has_what_a_learner_types_and_nothing_of_the_instructor() -> None:
    people = [
        Person("instructor", "hers-alone", "K8sMLTenant", roster.INSTRUCTOR),
        Person("zoe", "a<b&c", "Team-zoe"),
    ]
    page = cards.page(people, "https://class.test:8000")
    assert "hers-alone" not in page
    assert "a&lt;b&amp;c" in page
    assert page.count("<li>\n<h2>") == 1
    assert "https://class.test:8000" in page


def test_address_on_a_network_is_encrypted_and_kept() -> None:
    first = address_of({}, "0.0.0.0", 9000, "class.test", None, None)
    assert first["url"] == "https://class.test:9000"
    assert address_of(first, None, None, None, None, None) == first
    with pytest.raises(BadClass, match="--certificate and --key together"):
        address_of({}, None, None, None, Path("a.crt"), None)
