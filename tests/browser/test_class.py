"""A class on the hub, in real browsers: two learners who do not see each other, and its pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from labclass import cards, roster
from labclass.ledger import Ledger
from labhelpers.deadline import wait
from tests import classroom_folder
from tests.browser import chromium
from tests.browser.accessibility import judge
from tests.classroom.pupils import FOUND, HINTS, keep, twelve
from tests.hub.running import Hub

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

Shoot = Callable[[Page, str], None]
Windows = Callable[[str], Page]


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[Hub]:
    """Start the hub of a class of twelve, an hour after it began."""
    place = classroom_folder.make(folder / "class" / "class", students=12)
    keep(Ledger(place / "attendance"), twelve())
    running = Hub(place)
    try:
        yield running.start(chromium.PATIENCE)
    finally:
        running.close()


@pytest.fixture(scope="module")
def windows(hub: Hub, browser: Browser) -> Iterator[Windows]:
    """Return a function that gives each person their own window, signed in to the hub."""
    opened: dict[str, Page] = {}
    contexts = []

    def of(name: str) -> Page:
        if name not in opened:
            context = chromium.window(browser)
            contexts.append(context)
            page = context.__enter__()
            page.goto(f"{hub.url}/services/attendance/")
            sign_in(page, name, classroom_folder.password(name))
            expect(page.get_by_role("heading", level=1)).to_contain_text(re.compile("Who|Where"))
            opened[name] = page
        return opened[name]

    yield of
    for context in contexts:
        context.__exit__(None, None, None)


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def enter(page: Page, hub: Hub, name: str) -> None:
    """Go to the own server, wait while it starts, and look at the own files."""
    page.goto(f"{hub.url}/hub/spawn")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=chromium.PATIENCE * 1000)
    assert f"/user/{name}/lab" in page.url


def files(page: Page) -> list[str]:
    """Return what the file browser shows."""
    page.locator("#filebrowser").get_by_title("Refresh the file browser").click()
    return page.locator("#filebrowser .jp-DirListing-itemText").all_text_contents()


def show_files(page: Page) -> None:
    page.get_by_role("tab", name="File Browser").click()
    expect(page.locator("#filebrowser").get_by_text("00_start_here.ipynb")).to_be_visible()


def make_file(page: Page, name: str) -> None:
    """Make a file beside the labs, as this window's own JupyterLab does it."""
    status = page.evaluate(
        """async (name) => {
          const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
          const base = location.pathname.split('/lab/')[0];
          const answer = await fetch(`${base}/api/contents/notebooks/${name}`, {
            method: 'PUT', headers: {'X-XSRFToken': xsrf, 'Content-Type': 'application/json'},
            body: JSON.stringify({type: 'file', format: 'text', content: 'mine'})});
          return answer.status;
        }""",
        name,
    )
    assert status == 201
    wait(f"{name} in the list", lambda: files(page), until=lambda seen: name in seen)


@pytest.fixture(scope="module")
def one(hub: Hub, windows: Windows) -> Page:
    """Let student1 work in their own server."""
    page = windows("student1")
    enter(page, hub, "student1")
    return page


@pytest.fixture(scope="module")
def two(hub: Hub, windows: Windows) -> Page:
    """Let student2 work in their own server."""
    page = windows("student2")
    enter(page, hub, "student2")
    return page


def test_learner_sees_no_file_of_another(one: Page, two: Page) -> None:
    for page in (one, two):
        show_files(page)
    make_file(one, "only-mine.txt")
    assert "only-mine.txt" not in files(two)
    assert "00_start_here.ipynb" in files(two), "the labs are there"


def test_learner_is_not_let_into_anothers_server(hub: Hub, one: Page, two: Page) -> None:
    page = two.context.new_page()
    answer = page.goto(f"{hub.url}/user/student1/lab")
    assert answer is not None
    assert answer.status in (403, 404)
    expect(page.locator("#jp-main-dock-panel")).to_have_count(0)
    asked = page.request.get(f"{hub.url}/user/student1/api/contents")
    assert "notebooks" not in asked.text()


def test_attendance_shows_a_learner_nobody_else(hub: Hub, two: Page, windows: Windows) -> None:
    page = two.context.new_page()
    page.goto(f"{hub.url}/services/attendance/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Where you stand")
    assert set(re.findall(r"student\d+", page.content())) == {"student2"}
    page = windows("instructor")
    everybody = {f"student{number}" for number in range(1, 13)}
    assert set(re.findall(r"student\d+", page.content())) == everybody


def test_instructor_sees_what_was_found_and_the_hint_that_was_shown_last(
    hub: Hub, windows: Windows
) -> None:
    page = windows("instructor")
    page.goto(f"{hub.url}/services/attendance/")
    card = page.locator("#now li").filter(has=page.get_by_role("heading", name="student7"))
    expect(card).to_contain_text(f"Found: {FOUND}")
    expect(card).to_contain_text(f"Hint shown: {HINTS[-1]}")  # three failures: the third hint
    page.goto(f"{hub.url}/services/attendance/learner/student4")
    expect(page.get_by_text(f"Hint shown: {HINTS[0]}")).to_be_visible()


PAGES = {
    "who needs you": ("instructor", "/services/attendance/"),
    "where you stand": ("student7", "/services/attendance/"),
    "one learner": ("instructor", "/services/attendance/learner/student7"),
    "home": ("student7", "/hub/home"),
    "password": ("student7", "/hub/change-password"),
}


@pytest.mark.parametrize("name", PAGES)
def test_page_of_the_class_is_accessible(
    hub: Hub, windows: Windows, name: str, shoot: Shoot
) -> None:
    person, path = PAGES[name]
    page = windows(person)
    page.goto(hub.url + path)
    if name == "who needs you":
        shoot(page, "class")
    judge(page)


def test_sign_in_page_is_accessible(hub: Hub, page: Page) -> None:
    page.goto(hub.url)
    judge(page)
    sign_in(page, "student1", "not-the-password")
    expect(page.get_by_role("alert").first).to_contain_text("✗ Invalid username or password")
    judge(page)


def test_cards_are_accessible(page: Page, tmp_path: Path) -> None:
    words = {"password": "a-long-password", "tenant": "Team-1", "role": roster.STUDENT}
    people = [roster.Person(name=f"student{number}", **words) for number in range(1, 5)]
    (tmp_path / "cards.html").write_text(cards.page(people, "https://hub.example.invalid:8000"))
    page.goto((tmp_path / "cards.html").as_uri())
    judge(page)
