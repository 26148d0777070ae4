"""Maps that need no network: folium with its own copy of Leaflet, and what stands beside a map.

    import folium
    from labhelpers import maps

    maps.offline()
    chart = folium.Map([41.6, -93.6], zoom_start=7, tiles=None)
    ...
    maps.show(chart, "Where the lorries braked", picture=figure, table=counts)

As shipped, folium's maps fetch Leaflet and others from four servers, and stay empty without them.
`offline` replaces the addresses by `data:` URIs of the files in `labshow/leaflet`. A notebook that
is not trusted shows no map at all, and a map says little to who does not see it: so each map has a
picture with words and a table with the same numbers.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labshow import show as outputs
from labshow.colour import GREY, INK, LINE

if TYPE_CHECKING:
    import folium
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MapNeedsNetwork", "ground", "offline", "page", "show"]

FILES = Path(__file__).parent / "leaflet"
IMAGES = ("layers.png", "layers-2x.png", "marker-icon.png")  # that Leaflet's style names
DEEPEST = 15  # zoom levels: without tiles nothing else says where to stop
HEIGHT = 420  # pixels
GROUND, SEA = "#F3F1EC", "#DCE7EE"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
{header}
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
<script>
{script}
</script>
</body>
</html>
"""
_STYLE = """<style>
html, body, main {{ height: 100%; margin: 0; }}
main {{ display: flex; flex-direction: column; font: 14px sans-serif; color: {ink}; }}
h1 {{ font-size: 15px; margin: 4px 8px; }}
#{name} {{ flex: 1; min-height: 0; background: {sea}; }}
.leaflet-container {{ font-size: 14px; }}
</style>
<script>
L_NO_TOUCH = false; L_DISABLE_3D = false;
L.Icon.Default.mergeOptions({{imagePath: " ", iconUrl: "{icon}", iconRetinaUrl: "{icon}",
shadowUrl: "{nothing}"}});
L.Icon.Default.prototype._getIconUrl = L.Icon.prototype._getIconUrl;
</script>"""
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class MapNeedsNetwork(Exception):
    """A map would fetch files from the network; the text names them and the cure.

    Exception
    └── MapNeedsNetwork
    """

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the sentence alone."""
        return [f"MapNeedsNetwork: {self}"]


def offline() -> None:
    """Let folium's maps and clusters carry Leaflet with them, from here on; twice does no harm."""
    import folium
    from folium.plugins import MarkerCluster

    folium.Map.default_js = [("leaflet", _uri("leaflet.js"))]
    folium.Map.default_css = [("leaflet_css", _style())]
    MarkerCluster.default_js = [("markercluster", _uri("leaflet.markercluster.js"))]
    MarkerCluster.default_css = [
        (name, _uri(f"{name}.css")) for name in ("MarkerCluster", "MarkerCluster.Default")
    ]


def page(chart: folium.Map, title: str) -> str:
    """Return a map as a page of its own, with title, language and heading.

    Raises MapNeedsNetwork when something in it would be fetched from a server.
    """
    from branca.element import Element, Link

    chart.options.setdefault("max_zoom", DEEPEST)
    root: Any = chart.get_root()
    root.render()
    header: Mapping[str, Any] = root.header._children
    links = [one.url for one in header.values() if isinstance(one, Link)]
    if fetched := [one for one in links if not one.startswith("data:")]:
        raise MapNeedsNetwork(
            f"Expected a map that needs no network, found that it fetches {fetched[0]}"
            + (f" and {len(fetched) - 1} more files" if fetched[1:] else "")
            + ". Call `maps.offline()` before you make the map, and leave out what loads "
            "files of its own: tiles, folium.Icon, other plugins."
        )
    name, icon = chart.get_name(), _uri("marker-icon.png")
    style = _STYLE.format(name=name, ink=INK, sea=SEA, icon=icon, nothing=_NOTHING)
    root.header.add_child(Element(style), name=name)  # folium's own forbids to zoom the page
    parts = {"header": root.header, "body": root.html, "script": root.script}
    return _PAGE.format(
        title=html.escape(title), **{part: found.render() for part, found in parts.items()}
    )


def show(
    chart: folium.Map,
    title: str,
    *,
    picture: Figure | None = None,
    table: pd.DataFrame | None = None,
    file: Path | None = None,
) -> None:
    """Show a map, below it a picture of the same and a table of its numbers; keep it in a file."""
    from IPython.display import display

    text = page(chart, title)
    if file is not None:
        file.write_text(text, "utf-8")
    frame = (
        f'<iframe title="{html.escape(title)}" srcdoc="{html.escape(text)}" '
        f'style="width:100%;height:{HEIGHT}px;border:1px solid {LINE}"></iframe>'
    )
    display({"text/html": frame, "text/plain": f"{title} (a map)"}, raw=True)
    if picture is not None:
        import matplotlib.pyplot as plt

        display(picture)
        plt.close(picture)  # else the cell shows it once more
    if table is not None:
        outputs.table(table)


def ground(states: Path | str, box: Sequence[float], title: str) -> Axes:
    """Return axes with the borders of a GeoJSON file, to draw points on.

    `box` is west, south, east, north in degrees.
    """
    import matplotlib.pyplot as plt

    outputs.style()
    west, south, east, north = box
    middle = (south + north) / 2
    axes = plt.subplots(figsize=(8.4, 4.6))[1]
    for feature in json.loads(Path(states).read_text("utf-8"))["features"]:
        for polygon in feature["geometry"]["coordinates"]:
            lon, lat = zip(*polygon[0], strict=True)
            axes.fill(lon, lat, facecolor=GROUND, edgecolor=GREY, linewidth=0.8, zorder=0.5)
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="longitude", ylabel="latitude")
    axes.set_aspect(1 / _cosine(middle))
    axes.grid(visible=False)
    axes.set_title(title)
    return axes


def _cosine(degrees: float) -> float:
    return max(0.05, math.cos(math.radians(degrees)))


@cache
def _uri(name: str) -> str:
    """Return a vendored file as a `data:` URI."""
    kinds = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
    return _data(kinds[Path(name).suffix], (FILES / name).read_bytes())


@cache
def _style() -> str:
    """Return Leaflet's style with its images in it."""
    text = (FILES / "leaflet.css").read_text("utf-8")
    for image in IMAGES:
        text = text.replace(f"url(images/{image})", f"url({_uri(image)})")
    return _data("text/css", text.encode())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
