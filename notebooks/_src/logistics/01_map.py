# %% [markdown]
# # Lab logistics-01: Map
#
# Draw the events of a fleet on a map that needs no network, with a picture and a table for those who cannot use it.

# %% [markdown]
# ## What you will build
#
# - A **map of events** with the borders of the states, in one file that loads nothing from a server.
# - A **picture and a table** beside it with the same content, for readers without a map or without colours.
# - Two ways to draw 1,440 points, compared by the **size** of their files.
# - The **track** of one lorry, in the order of time.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment of the labs | folium draws the maps | `labs doctor` |
# | No platform, no network | The data are in the checkout | `ls datasets/fleet` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
own_files: str = ""  # a folder that `labs data fleet --out` filled; empty: the committed sample
lorry: int = 0  # which of the lorries on the map you follow
finished: bool = False  # True: the clean-up removes the maps

# %% [markdown]
# ## Setup
#
# **folium** is a Python library that writes a page with a map; **Leaflet** is the JavaScript library
# that draws the map in a browser.

# %%
import json

import folium
import pandas as pd
from folium.plugins import MarkerCluster

from labhelpers import begin, check, data, fresh, maps, quiz, show, workspace

begin("logistics/01")
home, source = workspace("logistics-01"), data.fleet.find_fleet(own_files)
borders = json.loads((source / "states.geojson").read_text("utf-8"))

# %% [markdown]
# ## 1. Look at a day of the fleet
#
# Each lorry has a device that sends a row every minute: its position, the type of event, and four
# signals. Most rows say that the lorry drives or stands. Three types of events are rare.

# %%
events = data.fleet.read_events(source)
show.table(events.drop(columns=["iot_signal_3", "iot_signal_4"]), "A day of the fleet", rows=4)
kinds = events["event_type"].value_counts().rename_axis("event").reset_index(name="rows")
show.bars(kinds, "event", "rows", "Three types of events are rare")

# %%
def day() -> pd.DataFrame:
    return data.fleet.read_events(source)


check(
    "The day is whole: 1,440 rows of each device, and none twice",
    lambda: set(day().groupby("device_id").size()) == {1440} and day()["id"].is_unique,
    saw=lambda: f"{len(day()):,} rows of {day()['device_id'].nunique()} devices",
    hint=[
        "Look at the two numbers: there must be 1,440 rows for each device.",
        "Usually the folder of your own data is incomplete: "
        f"`ls -l {source}` in a terminal lists a file of events, the borders and the truth.",
        "Type `source = data.fleet.find_fleet()` in a cell: it goes back to the committed sample.",
    ],
)

# %% [markdown]
# ## 2. Draw the ground
#
# The background of this map is the borders of the states, as **GeoJSON**, a text format for shapes.
# First look at what folium writes into a page. It loads JavaScript and styles from the servers below,
# so without a network the map stays empty.

# %%
start = {"location": [41.6, -93.4], "zoom_start": 6, "tiles": None}
shipped = folium.Map(**start).get_root().render()
servers = {line.split("/")[2] for line in shipped.split('"') if line.startswith("https://")}
print(f"By default, a map of folium loads files from {len(servers)} servers:", *sorted(servers), sep="\n    ")

# %% [markdown]
# `maps.offline()` lets folium write a copy of Leaflet into each page. `tiles=None` leaves out the
# background pictures, which come from another server. Everything else is as folium's manual describes.

# %% tags=["blank"]
LAND = {"fillColor": "#F3F1EC", "fillOpacity": 1, "color": "#8C8C8C", "weight": 1}
maps.offline()
ground = folium.Map(**start)
# blank: Add the `borders` to the map `ground` as GeoJSON; `style_function` returns LAND for each state.
# solution
folium.GeoJson(borders, style_function=lambda state: LAND).add_to(ground)
# end of solution
picture = maps.ground(source / "states.geojson", (-104, 37, -83, 47), "The background: the borders of the states")
maps.show(ground, "The background, drawn without a network", picture=picture.figure, file=home / "ground.html")

# %%
def page(name: str) -> str:
    return (home / f"{name}.html").read_text("utf-8")


check(
    "The page holds all states and no address of a server",
    lambda: page("ground").count('"fips"') == len(borders["features"]) and "://" not in page("ground"),
    saw=lambda: "{} shapes, {} addresses".format(*map(page("ground").count, ('"fips"', "://"))),
    hint=[
        "Look at the two numbers: as many shapes as there are states, and no address.",
        "Usually the map was made before `maps.offline()`, or nothing was added to it: "
        f"`grep -o '.....://[^/]*' {home}/ground.html` in a terminal lists the addresses.",
        "Run the cell that begins `LAND = {` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Put the events on the map
#
# Some rows have an impossible position: no lorry drives at latitude 0, or at -93. The next lab finds out
# why. Here you draw the other rows, and count those that you leave out.

# %% tags=["blank"]
LOOKS = {"harsh braking": ("▲", show.ORANGE, "^"), "tank low": ("■", show.BLUE, "s"),
         "device error": ("✚", show.GREEN, "P")}
is_rare = events["event_type"].isin(LOOKS)
# blank: Name `is_near`: the rows whose latitude lies between 30 and 50 degrees.
# stub: is_near = events["latitude"] > 90
# solution
is_near = events["latitude"].between(30, 50)
# end of solution
seen = events[is_rare & is_near]
print(f"{len(seen):,} events lie on the map, {(is_rare & ~is_near).sum():,} do not.")

# %% [markdown]
# Each type of event gets a **colour and a shape**: one man in twelve cannot tell red from green, and a
# printed page may have no colours. All points go into one GeoJSON layer.

# %%
def points(rows: pd.DataFrame) -> dict:
    features = [{"type": "Feature", "properties": {"event": row.event_type, "device": row.device_id},
                 "geometry": {"type": "Point", "coordinates": [row.longitude, row.latitude]}}
                for row in rows.itertuples()]
    return {"type": "FeatureCollection", "features": features}


def look(point: dict) -> dict:
    sign, colour, _ = LOOKS[point["properties"]["event"]]
    return {"html": f'<span style="color:{colour};font-size:13px">{sign}</span>'}


chart = folium.Map(**start)
folium.GeoJson(borders, style_function=lambda state: LAND).add_to(chart)
sign = folium.Marker(icon=folium.DivIcon(icon_size=(13, 13)))
layer = folium.GeoJson(points(seen), marker=sign, style_function=look)
layer.add_child(folium.GeoJsonTooltip(["event", "device"]))
layer.add_to(chart);

# %% [markdown]
# Below the map is a **picture** of it: JupyterLab shows no map in a notebook that somebody sent you,
# until you trust it. The **table** names the signs and has the same numbers, for a screen reader. Drag
# and zoom the map, then compare it with the picture.

# %%
axes = maps.ground(source / "states.geojson", (-97.2, 38.7, -89.8, 44.4), "The fleet drives on two interstates")
for event, (_, colour, marker) in LOOKS.items():
    rows = seen[seen["event_type"] == event]
    axes.scatter(rows["longitude"], rows["latitude"], s=22, color=colour, marker=marker, label=event)
axes.legend(loc="upper right")
show.describe(axes.figure, f"Map of {len(seen)} events in five states: they form a cross, along "
              "Interstate 80 from west to east and Interstate 35 from north to south.")
counts = seen.groupby("event_type").agg(rows=("id", "size"), devices=("device_id", "nunique"))
counts = counts.rename_axis("event").reset_index()
counts.insert(0, "sign", [LOOKS[event][0] for event in counts["event"]])
maps.show(chart, "Where the fleet reports events", picture=axes.figure, table=counts, file=home / "events.html")

# %%
def on_map(event: str) -> int:
    return page("events").count(f'"event": "{event}"')


def in_table(event: str) -> int:
    rows = day()
    return int((rows["event_type"].eq(event) & rows["latitude"].between(30, 50)).sum())


check(
    "The map shows each event once, and needs no network",
    lambda: all(on_map(event) == in_table(event) > 0 for event in LOOKS) and "://" not in page("events"),
    saw=lambda: ", ".join(f"{event}: {on_map(event)} of {in_table(event)}" for event in LOOKS),
    hint=[
        "Compare the numbers: of each kind as many on the map as in the data.",
        "Usually the rows of `seen` are too few, or the layer was not added to the map: "
        f"`grep -c '\"event\"' {home}/events.html` in a terminal counts lines with events.",
        "Run the cells that begin `LOOKS = {`, `def points(` and `axes = maps.ground(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Compare two ways to draw
#
# Most examples draw points in a loop, with one `folium.Marker` for each. folium then writes several
# lines of JavaScript for every point. You draw one day of one lorry both ways, as markers in a
# **cluster** and as one layer, and compare the sizes of the files.

# %% tags=["blank"]
names = sorted(events.loc[is_near, "device_id"].unique())
track = events[is_near & (events["device_id"] == names[lorry])]
loop, single = folium.Map(**start), folium.Map(**start, prefer_canvas=True)
cluster = MarkerCluster().add_to(loop)
for row in track.itertuples():
    icon = folium.DivIcon(html="●")
    folium.Marker([row.latitude, row.longitude], icon=icon, tooltip=row.event_type, alt=row.event_type).add_to(cluster)
# blank: Add the same points to the map `single` as one layer: GeoJSON with a folium.CircleMarker.
# solution
folium.GeoJson(points(track), marker=folium.CircleMarker(radius=3)).add_to(single)
# end of solution
for name, one in {"loop": loop, "single": single}.items():
    (home / f"{name}.html").write_text(maps.page(one, f"A day of {names[lorry]}"), "utf-8")

# %%
weights = pd.DataFrame({"way": ["a marker each", "one layer"], "kB": [len(page("loop")) / 1e3, len(page("single")) / 1e3]})
show.bars(weights, "way", "kB", "The file of the loop is three times as large")

# %%
check(
    "One layer holds the same points in less than half of the bytes",
    lambda: page("loop").count("L.marker(") == page("single").count('"event"') > 1000
    and 2 * len(page("single")) < len(page("loop")),
    saw=lambda: f"{page('single').count('event'):,} points: {len(page('loop')) / 1e3:,.0f} kB "
    f"and {len(page('single')) / 1e3:,.0f} kB",
    hint=[
        "Look at the points and the two sizes: as many points, fewer bytes.",
        f"Usually one of the two maps is empty: `ls -l {home}` in a terminal shows the sizes.",
        "Run the cells that begin `LOOKS = {` and `names = sorted(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Follow one lorry
#
# A **track** joins the points of one lorry by a line, so the order of the points matters. The rows of a
# file are not in the order of time: late ones are at its end. The dashed line in the picture joins the
# rows in the order of the file, and jumps across the country.

# %% tags=["blank"]
path = folium.Map(**start)
# blank: Put the rows of `track` into the order of time, as `ordered`.
# stub: ordered = track
# solution
ordered = track.sort_values("event_ts")
# end of solution
way = ordered[["latitude", "longitude"]].to_numpy().tolist()
folium.GeoJson(borders, style_function=lambda state: LAND).add_to(path)
folium.PolyLine(way, color=show.BLUE, weight=3, tooltip=names[lorry]).add_to(path)
box = (track["longitude"].min() - 0.4, track["latitude"].min() - 0.4,
       track["longitude"].max() + 0.4, track["latitude"].max() + 0.4)
axes = maps.ground(source / "states.geojson", box, "In the order of the file, late rows cut across")
axes.plot(track["longitude"], track["latitude"], color=show.ORANGE, linewidth=1, linestyle="--", label="order of the file")
axes.plot(ordered["longitude"], ordered["latitude"], color=show.BLUE, linewidth=2, label="order of time")
axes.legend()
maps.show(path, f"The track of {names[lorry]}", picture=axes.figure, file=home / "track.html")

# %%
def longest_step() -> float:
    drawn = json.JSONDecoder().raw_decode(page("track").split("L.polyline(")[1].lstrip())[0]
    steps = pd.DataFrame(drawn, columns=["north", "east"]).diff().dropna()
    return float((111.2 * (steps["north"] ** 2 + (0.75 * steps["east"]) ** 2) ** 0.5).max())


check(
    "The track never jumps: a lorry drives less than 8 km from row to row",
    lambda: longest_step() < 8,
    saw=lambda: f"the longest step is {longest_step():.1f} km",
    hint=[
        "Look at the number: two rows of a track are a minute or two apart, so a few kilometres.",
        "Usually the rows are not in the order of time: "
        "`track['event_ts'].is_monotonic_increasing` in a cell says whether they are.",
        "Run the cells that begin `names = sorted(` and `path = folium.Map(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **`Make this Notebook Trusted to load map`, or no map at all**: another user ran the notebook.
#   Choose *File*, *Trust Notebook*, or look at the picture below the map.
# - **A grey field without borders**: the map was made before `maps.offline()`. Run step 2 again.
# - **`MapNeedsNetwork`**: something you added, such as tiles or `folium.Icon`, loads files of its own.

# %% [markdown]
# ## Exercise
#
# Which device reports most `device error` events? Store its name in `worst`; use all rows, also those
# that are not on the map.
#
# Hint: `value_counts` sorts by frequency, the most frequent first.

# %% tags=["exercise"]
# stub: worst = ""
# solution
errors = events[events["event_type"] == "device error"]
worst = errors["device_id"].value_counts().index[0]
# end of solution
print(worst)

# %% [markdown]
# ## Recap
#
# - Your **map of events** holds its own copy of Leaflet, and loads nothing from a server.
# - A **picture with a description and a table** show the same numbers.
# - A **layer** of GeoJSON takes a third of the bytes of a loop of markers.
# - The **track** is in the order of time; the rows of the file are not.
#
# More: [folium](https://python-visualization.github.io/folium/latest/),
# [the GeoJSON format](https://www.rfc-editor.org/rfc/rfc7946),
# [use of colour, in WCAG](https://www.w3.org/WAI/WCAG22/Understanding/use-of-color.html).
#
# Next: why some rows are not on the map.

# %%
quiz(
    "A colleague opens your notebook and sees no map, only the picture. Why?",
    ["The notebook is not trusted", "The colleague has no network", "Leaflet is not installed"],
    right=0,
    because="JupyterLab removes the maps of a notebook that somebody else ran, until you trust it.",
)
quiz(
    "Why does each type of event have a shape of its own?",
    ["Leaflet needs it", "Shapes load faster than colours", "Some readers cannot tell the colours apart"],
    right=2,
    because="One man in twelve cannot tell red from green, and a printed page may have no colours.",
)
quiz(
    "A track has straight lines across the whole state. What do you check first?",
    ["The projection", "The order of the rows", "The borders"],
    right=1,
    because="Late rows are at the end of the file, and a line joins rows in the order in which it gets them.",
)

# %% [markdown]
# ## Clean up
#
# The maps stay in your folder of the project repository: open them in any browser. To remove them,
# type `finished = True` in a cell and run this one; running it twice is safe.

# %%
print(f"Removed: {fresh(home)}" if finished else f"Kept: the maps in {home.parent.name}")
