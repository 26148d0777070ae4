"""A map with the network cut: borders and points are drawn, and nobody is asked for anything."""

from __future__ import annotations

import io
import json
from pathlib import Path

import folium
import folium.plugins
import numpy as np
import pytest
from matplotlib.image import imread
from playwright.sync_api import Browser

from labshow import maps
from tests.browser import chromium
from tests.browser.accessibility import violations
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(300)]

STATES = json.loads((ROOT / "datasets" / "fleet" / "states.geojson").read_text("utf-8"))
BORDER, POINT, MARK = "#8c8c8c", "#d55e00", "#0072b2"


@pytest.fixture
def chart(monkeypatch: pytest.MonkeyPatch) -> folium.Map:
    for kind in (folium.Map, folium.plugins.MarkerCluster):
        monkeypatch.setattr(kind, "default_js", list(kind.default_js))
        monkeypatch.setattr(kind, "default_css", list(kind.default_css))
    maps.offline()
    made = folium.Map([41.6, -93.4], zoom_start=6, tiles=None)
    look = {"fillColor": "#F3F1EC", "fillOpacity": 1, "color": BORDER, "weight": 2}
    folium.GeoJson(STATES, style_function=lambda _: look).add_to(made)
    return made


def colours(png: bytes) -> dict[str, int]:
    """Return how many pixels have a colour, near enough."""
    picture = imread(io.BytesIO(png))[..., :3] * 255
    found = {}
    for name in (BORDER, POINT, MARK):
        wanted = [int(name[at : at + 2], 16) for at in (1, 3, 5)]
        found[name] = int((np.abs(picture - wanted).max(axis=-1) < 25).sum())
    return found


def test_map_draws_borders_and_points_without_a_network(
    plain_browser: Browser, chart: folium.Map, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.html"
    empty.write_text(maps.page(chart, "Nothing yet"), "utf-8")
    for number in range(20):
        place = [40.0 + 0.2 * number, -95 + 0.1 * number]
        folium.CircleMarker(place, radius=5, color=POINT, fill=True, fill_opacity=1).add_to(chart)
        icon = folium.DivIcon(html=f'<b style="color:{MARK};font-size:24px">■</b>')
        folium.Marker([place[0], place[1] + 2], icon=icon, alt=f"stop {number}").add_to(chart)
    cluster = folium.plugins.MarkerCluster().add_to(chart)
    for number in range(9):
        folium.Marker([42, -98 + number / 1e3], alt=f"near {number}").add_to(cluster)
    full = tmp_path / "full.html"
    full.write_text(maps.page(chart, "Lorries in five states"), "utf-8")

    with chromium.window(plain_browser) as page:
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.context.set_offline(True)
        page.goto(empty.as_uri())
        before = colours(page.screenshot())
        page.goto(full.as_uri())
        page.wait_for_selector(".marker-cluster >> text=9")
        after = colours(page.screenshot())
        found = violations(page)
    assert errors == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert before[BORDER] > 2000
    assert before[POINT] == 0
    assert before[MARK] < 100, "only the name of Leaflet in a corner"
    assert after[POINT] > 20 * 40
    assert after[MARK] > 20 * 40
    assert found == []


def test_map_as_folium_ships_it_stays_blank(plain_browser: Browser, tmp_path: Path) -> None:
    """What the test above would see if the map needed a network."""
    made = folium.Map([41.6, -93.4], zoom_start=6, tiles=None)
    folium.GeoJson(STATES).add_to(made)
    file = tmp_path / "shipped.html"
    made.save(str(file))
    with chromium.window(plain_browser) as page:
        page.context.set_offline(True)
        page.goto(file.as_uri())
        assert colours(page.screenshot())[BORDER] == 0
