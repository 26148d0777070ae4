"""Cookies of the hub travel to the hub only, and open nothing once their owner has left."""

from __future__ import annotations

import http.cookies

import pytest
import requests

from tests.hub.running import Hub

pytestmark = pytest.mark.sandbox


def _set_cookies(answer: requests.Response) -> list[http.cookies.Morsel[str]]:
    found: list[http.cookies.Morsel[str]] = []
    for one in (*answer.history, answer):
        for line in one.raw.headers.getlist("Set-Cookie"):
            found += http.cookies.SimpleCookie(line).values()
    return found


def test_cookies_stay_with_our_own_pages(hub: Hub) -> None:
    person = hub.person("instructor")
    first = person.http.get(f"{person.url}/hub/login", timeout=30)
    cookies = [*_set_cookies(first), *_set_cookies(person.sign_in())]
    assert {cookie.key for cookie in cookies} >= {"_xsrf", "jupyterhub-hub-login"}
    assert all(cookie["samesite"] == "Lax" for cookie in cookies)


def test_cookie_from_before_the_sign_out_opens_nothing(hub: Hub) -> None:
    person = hub.person("instructor")
    person.sign_in()
    copied = requests.Session()
    copied.trust_env = False
    copied.cookies.update(person.http.cookies)
    home = f"{person.url}/hub/home"
    assert copied.get(home, allow_redirects=False, timeout=30).status_code == 200
    person.http.get(f"{person.url}/hub/logout", timeout=30)
    answer = copied.get(home, allow_redirects=False, timeout=30)
    assert answer.status_code == 302
    assert "/hub/login" in answer.headers["Location"]
