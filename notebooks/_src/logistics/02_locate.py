# %% [markdown]
# # Lab logistics-02: Locate
#
# Find the state of each lorry in SQL, see which rows a join silently drops, and find the firmware that causes it.

# %% [markdown]
# ## What you will build
#
# - A **spatial join**: 57,600 positions against the borders of 56 states, in SQL.
# - The name of the **firmware** that swaps latitude and longitude, and its rows repaired.
# - A table `located`: each row of the day with its state, every one of them right.
# - **Distances** in metres, and a join of a million points, compared with a **second library**.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment of the labs | SedonaDB and geopandas come with it | `labs doctor` |
# | A little SQL | The joins are written in it | Read on |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
own_files: str = ""  # a folder that `labs data fleet --out` filled, 30 lorries or more; empty: the sample
many: int = 1_000_000  # points of the large join
sample: int = 50_000  # how many of them both libraries join
seed: int = 7  # the same seed makes the same points
finished: bool = False  # True: the clean-up removes the table

# %% [markdown]
# ## Setup
#
# **SedonaDB** is a spatial database that runs in your process. You register data frames as **views**, and
# get the result of a query as a data frame. Functions whose names begin with `ST_` are a standard. This
# lab uses those that Sedona on Spark has, too, so its SQL also runs on a cluster.

# %%
from time import perf_counter

import geopandas
import numpy as np
import pandas as pd
import sedonadb

from labhelpers import begin, check, data, fresh, quiz, show, workspace

begin("logistics/02")
home, source = workspace("logistics-02"), data.fleet.find_fleet(own_files)
sd = sedonadb.connect()

# %%
events, borders = data.fleet.read_events(source), geopandas.read_file(source / "states.geojson")
sd.create_data_frame(events).to_view("events", overwrite=True)
sd.create_data_frame(borders).to_view("states", overwrite=True)


def ask(sql: str) -> pd.DataFrame:
    return sd.sql(sql).to_pandas()


ask("SELECT name, ST_SRID(geometry) AS srid, ST_AsText(ST_Centroid(geometry)) AS middle FROM states LIMIT 3")

# %% [markdown]
# ## 1. Join points with states
#
# A **point** is a geometry made of two coordinates. Its **SRID** says what they mean: 4326 stands for
# degrees of longitude and latitude. Without an SRID the join is refused, because the coordinates might as
# well be metres:

# %%
try:
    ask("SELECT count(*) FROM events JOIN states ON ST_Covers(geometry, ST_Point(longitude, latitude))")
except sedonadb._lib.SedonaError as refused:
    print(str(refused)[-150:])

# %% [markdown]
# With the SRID, the condition of the join is that a state **covers** the point. A `LEFT JOIN` keeps the
# rows that are in no state; a plain `JOIN` drops them silently. So you count both: all rows, and those
# with a state.

# %% tags=["blank"]
# blank: Name POINT: the SQL of a row's point, longitude first, with the SRID 4326.
# stub: POINT = "ST_SetSRID(ST_Point(0, 0), 4326)"
# solution
POINT = "ST_SetSRID(ST_Point(longitude, latitude), 4326)"
# end of solution


def located(point: str) -> pd.DataFrame:
    return ask(f"""SELECT manufacturer, count(*) AS rows, count(name) AS located
        FROM events LEFT JOIN states ON ST_Covers(geometry, {point})
        GROUP BY manufacturer ORDER BY manufacturer""")


show.table(located(POINT), "Rows in a state, by the manufacturer of the device")

# %% [markdown]
# Look at the last column: no row of one manufacturer is in a state, and there was no error. The SQL is
# right; the positions in these rows are wrong.

# %%
def shares(point: str) -> list[float]:
    found = located(point)
    return sorted((found["located"] / found["rows"]).tolist())


check(
    "Two manufacturers are found, the third is nowhere, and nothing complained",
    lambda: shares(POINT)[0] == 0 and shares(POINT)[1] > 0.99,
    saw=lambda: "found in a state: " + ", ".join(f"{share:.1%}" for share in shares(POINT)),
    hint=[
        "Look at the shares: one is zero, the others are above 99 %.",
        "Usually longitude and latitude changed places in the expression, or the view is an old one: "
        "`print(POINT)` in a cell shows the expression.",
        "Type `POINT = \"ST_SetSRID(ST_Point(longitude, latitude), 4326)\"` in a cell, then run this one.",
    ],
)

# %% [markdown]
# ## 2. Find the firmware
#
# `ST_Point` expects x before y, so longitude comes first. People and many devices write latitude first.
# Swap the axes and count again: a manufacturer whose rows are found now sends them in the wrong order.

# %%
FLIPPED = "ST_SetSRID(ST_FlipCoordinates(ST_Point(longitude, latitude)), 4326)"
both = located(POINT).merge(located(FLIPPED), on=["manufacturer", "rows"], suffixes=(" as sent", " flipped"))
show.table(both, "Each row has a state in one of the two orders")
culprit = both.loc[both["located flipped"].idxmax(), "manufacturer"]
print("The firmware of", culprit, "swaps the axes.")

# %% [markdown]
# Repair the rows in a view and keep the raw rows unchanged: they are the only record of what the device
# sent. The rest of this lab reads the view.

# %% tags=["blank"]
swapped = f"manufacturer = '{culprit}'"
# blank: Complete `lon` and `lat`: the other column where `swapped` is true, else the column itself.
# stub: lon, lat = "longitude", "latitude"
# solution
lon = f"CASE WHEN {swapped} THEN latitude ELSE longitude END"
lat = f"CASE WHEN {swapped} THEN longitude ELSE latitude END"
# end of solution
sd.sql(f"""SELECT id, device_id, manufacturer, event_ts, {lon} AS longitude, {lat} AS latitude
    FROM events""").to_view("repaired", overwrite=True)

# %%
def unlocated() -> pd.DataFrame:
    return ask(f"""SELECT longitude, latitude FROM repaired
        LEFT JOIN states ON ST_Covers(geometry, {POINT}) WHERE name IS NULL""")


check(
    "Every row of the view is in a state, except those without a position",
    lambda: not unlocated().to_numpy().any() and 0 < len(unlocated()) < 0.003 * len(events),
    saw=lambda: f"{len(unlocated())} rows in no state, at {unlocated().drop_duplicates().to_numpy().tolist()}",
    hint=[
        "Look at what is left: a few dozen rows, all of them at 0, 0.",
        "Usually the view was made with the columns as they came: "
        "`print(lon)` in a cell must show CASE and the manufacturer.",
        "Run the cells that begin `FLIPPED = ` and `swapped = f` again, then this one.",
    ],
)

# %% [markdown]
# The remaining rows are at 0, 0, in the sea off Africa: the device had no reception and sent zeros
# where it should have sent `NULL`.
#
# ## 3. Make the shapes valid
#
# Shapes can be wrong, too. A polygon that crosses itself has no well-defined inside, so libraries
# disagree about it, or fail. List the invalid shapes, and repair them before the join.

# %%
show.table(ask("SELECT name, ST_NumPoints(ST_ExteriorRing(ST_GeometryN(geometry, 1))) AS points FROM states "
               "WHERE NOT ST_IsValid(geometry)"), "Borders that are invalid as they were published")

# %% tags=["blank"]
BAD = "SELECT name FROM valid WHERE NOT ST_IsValid(geometry)"
# blank: Write the SQL for the view `valid`: name and geometry of each state, made valid.
# stub: mended = "SELECT name, geometry FROM states"
# solution
mended = "SELECT name, ST_MakeValid(geometry) AS geometry FROM states"
# end of solution
sd.sql(mended).to_view("valid", overwrite=True)
sd.sql(f"""SELECT id, device_id, event_ts, longitude, latitude, name AS state FROM repaired
    LEFT JOIN valid ON ST_Covers(geometry, {POINT})""").to_parquet(home / "located.parquet")
by_state = pd.read_parquet(home / "located.parquet")["state"].value_counts().reset_index(name="rows")
show.bars(by_state, "state", "rows", "Iowa has most of the traffic")

# %%
def right() -> float:
    table, planted = pd.read_parquet(home / "located.parquet"), data.fleet.read_truth(source)["planted"]
    table = table[table["latitude"] != 0].sort_values(["device_id", "event_ts"])
    minute = table["event_ts"].dt.hour * 60 + table["event_ts"].dt.minute
    truth = {name: np.repeat(*zip(*one["states"], strict=True)) for name, one in planted.items()}
    wanted = [truth[name][at] for name, at in zip(table["device_id"], minute, strict=True)]
    return float((table["state"] == wanted).mean())


# %%
def invalid() -> int:
    return len(ask(BAD))


check(
    "All shapes are valid, and each row is in the state where the lorry really was",
    lambda: invalid() == 0 and right() == 1,
    saw=lambda: f"{invalid()} invalid shapes, {right():.2%} of the rows in their true state",
    hint=[
        "Look at the two numbers: no shape may be invalid, and every row must be right.",
        "Usually the view `valid` has the shapes as they came, or the rows are not repaired: "
        "`ask(mended).info()` in a cell shows what the view is made of.",
        "Run the cells that begin `swapped = f` and `BAD = ` again, then this one.",
    ],
)

# %% [markdown]
# The generator of these data wrote down the true state of each row, and the checkpoint compares with it.
# With real points you would not reach 100 %: these borders are simplified for maps of a whole country,
# and along a river one point in 500 is on the wrong side.
#
# ## 4. Measure in metres
#
# How far is each lorry from Des Moines at noon? A distance in degrees has no meaning, because a degree of
# longitude becomes shorter towards the poles. Project the points first: EPSG 32615 is a grid in metres
# that fits Iowa.

# %% tags=["blank"]
DEPOT = "ST_SetSRID(ST_Point(-93.625, 41.587), 4326)"
# blank: Write the SQL of the distance in metres from POINT to DEPOT; ST_Transform projects both to EPSG:32615.
# stub: METRES = f"ST_Distance({POINT}, {DEPOT})"
# solution
METRES = f"ST_Distance(ST_Transform({POINT}, 'EPSG:32615'), ST_Transform({DEPOT}, 'EPSG:32615'))"
# end of solution
noon = "FROM repaired WHERE latitude <> 0 AND event_ts = TIMESTAMP '2026-03-02 12:00:00'"


def far() -> pd.DataFrame:
    return ask(f"SELECT longitude, latitude, ST_Distance({POINT}, {DEPOT}) AS degrees, {METRES} AS metres {noon}")


show.table(far().sort_values("metres").iloc[::8], "Degrees are no distance")

# %%
def on_the_sphere(rows: pd.DataFrame) -> pd.Series:
    east, north = np.radians(rows["longitude"] + 93.625), np.radians(rows["latitude"] - 41.587)
    half = np.sin(north / 2) ** 2 + np.cos(np.radians(rows["latitude"])) * np.cos(np.radians(41.587)) * np.sin(east / 2) ** 2
    return 2 * 6_371_000 * np.arcsin(np.sqrt(half))


check(
    "The distances are metres: within half a per cent of those on a sphere",
    lambda: len(far()) > 0.75 * events["device_id"].nunique() and np.allclose(far()["metres"], on_the_sphere(far()), rtol=0.005, atol=50),
    saw=lambda: f"the farthest of {len(far())} lorries: {far()['metres'].max():,.1f}",
    hint=[
        "Look at the number: the farthest lorry is a few hundred thousand metres away.",
        "Usually the points were not projected, or only one of the two: "
        "`print(METRES)` in a cell must show ST_Transform twice.",
        "Run the cell that begins `DEPOT = ` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Compare two libraries, and join a million points
#
# **geopandas** does the same join with another engine and another index, so it can confirm the result.
# Both libraries join the same random points; then SedonaDB joins all of them.

# %%
dice = np.random.default_rng(seed)
points = pd.DataFrame({"longitude": dice.uniform(-104, -80, many), "latitude": dice.uniform(36, 49, many)})
sd.create_data_frame(points[:sample]).to_view("few", overwrite=True)
sd.create_data_frame(points).to_view("lots", overwrite=True)


def count_by_state(view: str) -> pd.DataFrame:
    return ask(f"""SELECT name, count(*) AS rows FROM {view} JOIN valid ON ST_Covers(geometry, {POINT})
        GROUP BY name ORDER BY rows DESC, name""")


def second_opinion() -> pd.Series:
    few = points[:sample]
    frame = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(few["longitude"], few["latitude"]), crs=4326)
    valid = borders.assign(geometry=borders.geometry.make_valid())
    return frame.sjoin(valid, predicate="covered_by")["name"].value_counts()


# %%
def seconds(action, *words) -> float:
    began = perf_counter()
    action(*words)
    return perf_counter() - began


speeds = {f"geopandas, {sample:,} points": sample / seconds(second_opinion),
          f"SedonaDB, {sample:,} points": sample / seconds(count_by_state, "few"),
          f"SedonaDB, {many:,} points": many / seconds(count_by_state, "lots")}
speeds = pd.DataFrame({"who": list(speeds), "points a second": list(speeds.values())})
show.bars(speeds, "who", "points a second", "SedonaDB joins more points a second")

# %%
check(
    "Both libraries count the same points in each state, and all points were joined",
    lambda: count_by_state("few").set_index("name")["rows"].to_dict() == second_opinion().to_dict()
    and 0.5 * many < count_by_state("lots")["rows"].sum() < many,
    saw=lambda: f"{count_by_state('few')['rows'].sum():,} of {sample:,}, "
    f"then {count_by_state('lots')['rows'].sum():,} of {many:,}",
    hint=[
        "Look at the counts: both libraries must find the same number in each state.",
        "Usually the view `valid` still has the invalid shapes: "
        "`ask('SELECT count(*) FROM valid')` in a cell shows how many there are.",
        "Run the cells that begin `BAD = ` and `dice = np.random` again, then this one.",
    ],
)

# %% [markdown]
# When one machine is too small, `apache-sedona` offers the same functions on a Spark cluster; the setting
# `SPARK_CONF_spark_jars_packages` takes its Maven coordinates. The SQL above uses functions that both
# have: ST_Point, ST_SetSRID, ST_FlipCoordinates, ST_Covers, ST_Transform, ST_Distance.

# %% [markdown]
# ## If it does not work
#
# - **`Mismatched CRS arguments`**: one geometry has an SRID and the other none. Use `ST_SetSRID`.
# - **A join gives no rows and no error**: longitude and latitude are swapped somewhere.
# - **`No kernel matching arguments`**: a function got an argument of the wrong type, such as a text where
#   it expects a geometry. `ST_GeomFromWKT` converts text to a geometry.

# %% [markdown]
# ## Exercise
#
# How many lorries drove in more than one state on this day? Read the table `located`, and store the
# number in `travellers`.
#
# Hint: group by `device_id` and count the different states with `nunique`.

# %% tags=["exercise"]
# stub: travellers = 0
# solution
table = pd.read_parquet(home / "located.parquet")
travellers = int((table.groupby("device_id")["state"].nunique() > 1).sum())
# end of solution
print(travellers, "lorries crossed a border")

# %% [markdown]
# ## Recap
#
# - A **spatial join** found a state for each position; rows without one need a `LEFT JOIN` to be seen.
# - The **firmware** that swaps the axes is known, and its rows are repaired in a view.
# - The table **`located`** has the right state in each row, and a second library agrees on random points.
# - **Distances** are measured on a grid in metres, not in degrees.
#
# More: [SedonaDB](https://sedona.apache.org/sedonadb/latest/),
# [projections in geopandas](https://geopandas.org/en/stable/docs/user_guide/projections.html),
# [EPSG 32615](https://epsg.io/32615).
#
# Next: what the signals of a lorry repeat, and what they do only once.

# %%
quiz(
    "A spatial join returns no rows and no error. What do you check first?",
    ["The age of the borders", "The order of the axes", "The SRID"],
    right=1,
    because="Swapped axes are valid points in another part of the world; a missing SRID is an error.",
)
quiz(
    "Why repair the axes in a view and not in the raw rows?",
    ["The raw rows record what was sent", "A view is faster", "Raw rows cannot be changed"],
    right=0,
    because="A repair may be wrong, too; only the raw rows show what a device sent.",
)
quiz(
    "ST_Distance of two points with the SRID 4326 returns 0.6. What is its unit?",
    ["Kilometres", "Metres", "Degrees, so it is no distance"],
    right=2,
    because="Degrees of longitude and latitude have different lengths; project the points first.",
)

# %% [markdown]
# ## Clean up
#
# The table `located` stays for your own questions. To remove it, type `finished = True` in a cell and
# run this one; running it twice is safe.

# %%
print(f"Removed: {fresh(home)}" if finished else f"Kept: the table in {home.parent.name}")
