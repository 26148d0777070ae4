"""What axe-core finds on a page, in sentences; and what a page cuts off at 200 % zoom."""

from __future__ import annotations

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Rules of the guidelines; what axe only recommends is looked at by people.
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TWO_FRAMES = "() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
ZOOMED = 640  # CSS pixels that are left of 1280 at 200 %


def violations(page: Page, *scopes: str, but: tuple[str, ...] = ()) -> list[str]:
    """Return what breaks a rule, within some parts of a page or in all of it."""
    options = {"runOnly": {"type": "tag", "values": LEVELS}, "resultTypes": ["violations"]}
    context: dict[str, list[list[str]]] = {
        "include": [[scope] for scope in scopes or ("html",)],
        "exclude": [[scope] for scope in but],
    }
    found = Axe().run(page, context=context, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['target']} {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


def judge(page: Page) -> None:
    """Assert that a whole page of ours breaks no rule, light or dark, and fits at 200 % zoom."""
    size = page.viewport_size
    assert size is not None
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(TWO_FRAMES)  # a page's own script may have to hear of it
        page.wait_for_function("!document.getAnimations().length")  # and colours fade over
        assert violations(page) == [], f"{page.url} in {scheme} colours"
    page.set_viewport_size({"width": ZOOMED, "height": size["height"]})
    found = cut_off(page)
    page.set_viewport_size(size)
    page.emulate_media(color_scheme="light")
    assert found == [], f"{page.url} at 200 %"


def cut_off(page: Page) -> list[str]:
    """Return what makes a page scroll sideways, or is cut off, in a window this wide."""
    return list(
        page.evaluate(
            """() => {
              const wide = document.documentElement.clientWidth;
              const found = [];
              if (document.documentElement.scrollWidth > wide)
                found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
              for (const one of document.body.querySelectorAll('*')) {
                const box = one.getBoundingClientRect();
                if (!box.width || !box.height) continue;
                let scrolls = false;
                for (let up = one.parentElement; up; up = up.parentElement)
                  if (/auto|scroll/.test(getComputedStyle(up).overflowX)) scrolls = true;
                if (!scrolls && box.right > wide + 1) found.push(
                  `${one.tagName.toLowerCase()} ends at ${Math.round(box.right)} px: `
                  + one.textContent.trim().slice(0, 60));
                const style = getComputedStyle(one);
                if (style.overflowX === 'hidden' && one.scrollWidth > one.clientWidth + 1
                    && one.clientWidth > 1)
                  found.push(`${one.tagName.toLowerCase()} is cut off: `
                    + one.textContent.trim().slice(0, 60));
              }
              return found;
            }"""
        )
    )
