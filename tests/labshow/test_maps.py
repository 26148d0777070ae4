"""Maps carry all they need: no address of a server in them, a picture and a table beside them."""

from __future__ import annotations

import re
from pathlib import Path

import folium
import folium.plugins
import pandas as pd
import pytest

from labshow import maps

pytestmark = pytest.mark.fast

STATES = Path(__file__).parents[2] / "datasets" / "fleet" / "states.geojson"
IOWA = [41.6, -93.4]


@pytest.fixture
def as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give folium its own addresses back after the test."""
    for kind in (folium.Map, folium.plugins.MarkerCluster):
        monkeypatch.setattr(kind, "default_js", list(kind.default_js))
        monkeypatch.setattr(kind, "default_css", list(kind.default_css))


@pytest.fixture
def offline(as_shipped: None) -> None:
    maps.offline()
    maps.offline()


def test_map_as_folium_ships_it_is_refused_with_the_cure(as_shipped: None) -> None:
    chart = folium.Map(IOWA, tiles=None)
    with pytest.raises(maps.MapNeedsNetwork, match=r"fetches https://.*more files.*maps\.offline"):
        maps.page(chart, "A map")


def test_plugin_with_files_of_its_own_is_refused(offline: None) -> None:
    chart = folium.Map(IOWA, tiles=None)
    folium.plugins.MiniMap().add_to(chart)
    with pytest.raises(maps.MapNeedsNetwork, match=r"fetches https://\S+minimap"):
        maps.page(chart, "A map")


def test_page_names_no_server_and_has_title_language_and_heading(offline: None) -> None:
    chart = folium.Map(IOWA, tiles=None)
    cluster = folium.plugins.MarkerCluster().add_to(chart)
    folium.Marker(IOWA, alt="a lorry").add_to(cluster)
    folium.GeoJson(STATES.read_text("utf-8")).add_to(chart)
    text = maps.page(chart, "Iowa & <more>")
    assert re.findall(r"https?:", text) == []
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert text.count("Iowa &amp; &lt;more&gt;") == 2
    assert "user-scalable" not in text
    assert "markerClusterGroup(" in text
    assert len(maps.page(chart, "Again")) < len(text) + 1000, "a map may be shown twice"


def test_zoom_of_the_cell_is_kept(offline: None) -> None:
    chart = folium.Map(IOWA, tiles=None, max_zoom=9)
    chart.options["max_zoom"] = 9
    assert re.search(r'"maxZoom":\s*9', maps.page(chart, "A map"))
    assert re.search(r'"maxZoom":\s*15', maps.page(folium.Map(IOWA, tiles=None), "A map"))


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    shown: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda one, **_: shown.append(one))
    return shown


def test_map_is_shown_with_picture_and_table_and_kept(
    offline: None, displayed: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = maps.ground(STATES, (-97, 39, -90, 45), "Where they are")
    frame = pd.DataFrame({"event": ["tank low"], "rows": [12]})
    chart = folium.Map(IOWA, tiles=None)
    file = tmp_path / "map.html"
    maps.show(chart, 'A "map"', picture=axes.figure, table=frame, file=file)  # type: ignore[arg-type]
    mime, picture = displayed
    assert isinstance(mime, dict)
    assert mime["text/html"].startswith('<iframe title="A &quot;map&quot;" srcdoc="&lt;!DOCTYPE')
    assert mime["text/plain"] == 'A "map" (a map)'
    assert picture is axes.figure
    assert "tank low   12" in capsys.readouterr().out
    assert "L.map(" in file.read_text("utf-8")


def test_ground_has_borders_within_its_box() -> None:
    axes = maps.ground(STATES, (-97, 39, -90, 45), "Five states")
    assert len(axes.patches) > 50
    assert axes.get_xlim() == (-97, -90)
    assert axes.get_title() == "Five states" or axes.get_title("left") == "Five states"
