# %% [markdown]
# # Lab logistics-03: Find patterns
#
# Find patterns that a lorry's signals repeat, and those that occur once, first in one device, then in the whole fleet.

# %% [markdown]
# ## What you will build
#
# - The **motif** and the **discord** of a device: the pattern that repeats, and the one without an equal.
# - A **query** by example, and the reason why four numbers are too short for one.
# - Two lorries that **drove the same road**, and the signals that take part in a pattern.
# - A table `profiles` with the patterns of all devices, computed by **Spark**.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | The environment of the labs | stumpy and Spark come with it | `labs doctor` |
# | Compiled code, or a minute | Set-up compiles stumpy in the background; until then the first call waits | Read on |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
own_files: str = ""  # a folder that `labs data fleet --out` filled; empty: the committed sample
lorry: int = 0  # which device you look at closely
window: int = 60  # minutes: how long a pattern is
spark_master: str = ""  # a Spark cluster, spark://…, as lab core-03 orders it; empty: this machine
finished: bool = False  # True: the clean-up removes the table and the notes

# %% [markdown]
# ## Setup
#
# **stumpy** compares each window of a series with every other one. Its functions are compiled when they
# are first called. `keep_compiled` stores the compiled code in your cache folder, so that only the first
# notebook waits. It also sets one thread for each call: on a busy machine two are slower.

# %%
import json
import os

import numpy as np
import pandas as pd
import stumpy

from labhelpers import begin, check, data, fresh, quiz, show, spark_session, workspace
from labhelpers.spark import process

begin("logistics/03")
process.keep_compiled(stumpy)
home, source = workspace("logistics-03"), data.fleet.find_fleet(own_files)
notes = home / "findings.json"

# %% [markdown]
# You write your findings into a file of notes. The checkpoints compare them with the patterns that the
# generator put into these data, which your cells never read.

# %%
def noted() -> dict:
    return json.loads(notes.read_text())


def note(**findings) -> None:
    kept = noted() if notes.exists() else {}
    notes.write_text(json.dumps({**kept, **findings}, default=int))


def truth() -> dict:
    return data.fleet.read_truth(source)["planted"][noted()["device"]]


def near(found: list, planted: list) -> bool:
    return all(abs(one - other) <= 5 for one, other in zip(sorted(found), sorted(planted), strict=True))


# %% [markdown]
# ## 1. Put a series in order
#
# In a **time series** the position of a value is its time. The rows of a table have no order, and here
# late ones are at the end of the file. Sort first: otherwise row 600 is not minute 600, and a window holds
# minutes that did not follow each other.

# %% tags=["blank"]
events = data.fleet.read_events(source)
device = sorted(events["device_id"].unique())[lorry]
SIGNALS = [f"iot_signal_{number}" for number in (1, 2, 3, 4)]
# blank: Name `day`: the rows of `device` in the order of time, with a fresh index.
# stub: day = events[events["device_id"] == device]
# solution
day = events[events["device_id"] == device].sort_values("event_ts", ignore_index=True)
# end of solution
day.to_parquet(home / "day.parquet")
notes.unlink(missing_ok=True)
note(device=device)
shown = day.reset_index(names="minute")
show.lines(shown[::10], "minute", ["iot_signal_1", "iot_signal_2"], "Driving and standing during a day")

# %%
def minutes() -> pd.Series:
    times = pd.read_parquet(home / "day.parquet")["event_ts"]
    return (times - times.min()) / pd.Timedelta(minutes=1)


check(
    "Row 0 is the first minute of the day, and each row the next minute",
    lambda: (minutes() == np.arange(1440)).all(),
    saw=lambda: f"{len(minutes()):,} rows; steps from {minutes().diff().min():.0f} to {minutes().diff().max():.0f} minutes",
    hint=[
        "Look at the steps from row to row: each must be one minute.",
        "Usually the rows are in the order in which they came: "
        "`day['event_ts'].is_monotonic_increasing` in a cell says so.",
        "Run the cell that begins `events = data.fleet` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Find what repeats
#
# The **matrix profile** holds for each window the distance to the most similar other window. Windows are
# **z-normalised** before they are compared: their mean becomes 0 and their deviation 1, so only the shape
# counts. The lowest value belongs to the two most similar windows, the **motif**.

# %% tags=["blank"]
first = day["iot_signal_1"].to_numpy()
profile = stumpy.stump(first, window)
# blank: Name `motif`: the place where profile.P_ is smallest, and its neighbour there in profile.I_, sorted.
# stub: motif = [0, 0]
# solution
at = int(np.argmin(profile.P_))
motif = sorted([at, int(profile.I_[at])])
# end of solution
note(motif=motif)
both = pd.DataFrame({"minute": np.arange(window), **{f"from minute {one}": first[one : one + window] for one in motif}})
show.lines(both, "minute", list(both.columns[1:]), "The same shape twice in a day: a refuel stop")

# %%
check(
    "The motif is the refuel stop, at both its minutes",
    lambda: near(noted()["motif"], truth()["motif"]),
    saw=lambda: f"windows at {noted()['motif']}",
    hint=[
        "Look at the two windows: they are hours apart, and their curves nearly coincide.",
        "Usually the series is not in the order of time, or the window is not an hour: "
        "`print(window, len(first))` in a cell shows both.",
        "Run the cells that begin `events = data.fleet` and `first = day` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Find what happens once
#
# Where the profile is **highest**, a window is unlike every other one of the day. That is the **discord**:
# an anomaly that you find without a description of it.

# %% tags=["blank"]
fourth = day["iot_signal_4"].to_numpy()
rare = stumpy.stump(fourth, window)
# blank: Name `discord`: the place where rare.P_ is largest.
# stub: discord = 0
# solution
discord = int(np.argmax(rare.P_))
# end of solution
note(discord=discord)
curve = pd.DataFrame({"minute": np.arange(len(rare)), "distance": rare.P_.astype(float)})
show.lines(curve[::5], "minute", ["distance"], f"The window at minute {discord} is unlike all others")

# %%
check(
    "The discord overlaps the half hour in which a sensor came loose",
    lambda: -60 < noted()["discord"] - truth()["discord"] < 30,
    saw=lambda: f"the window at minute {noted()['discord']}",
    hint=[
        "Look at the picture: the curve has one clear peak.",
        "Usually the profile is of another signal: "
        "`day['iot_signal_4'].plot()` in a cell shows where the noise is.",
        "Run the cells that begin `events = data.fleet` and `fourth = day` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Ask by example
#
# **MASS** computes the distance of one pattern to every window. A pattern of four falling numbers, such as
# `54, 53, 52, 51`, is a straight line after z-normalisation, and so is every other falling line: many
# windows match it equally well. An hour of the signal has a shape of its own and few matches.

# %%
third = day["iot_signal_3"].to_numpy()
short = stumpy.mass(np.array([54.0, 53.0, 52.0, 51.0]), third)
other = stumpy.mass(np.array([9.0, 6.0, 3.0, 0.0]), third)
long = stumpy.mass(third[motif[0] : motif[0] + window], third)
answers = [["54, 53, 52, 51", (short < 0.3).sum()], ["9, 6, 3, 0", (other < 0.3).sum()],
           ["an hour: a refuel stop", (long < 2.2).sum()]]
show.table(answers, "Windows that match", columns=["pattern", "windows"])
print("The first two have the same distances:", np.allclose(short, other, atol=1e-6))

# %%
def best_match() -> int:
    series = pd.read_parquet(home / "day.parquet")["iot_signal_3"].to_numpy()
    known, wanted = truth()["motif"]
    distances = stumpy.mass(series[known : known + 60], series)
    distances[max(0, known - 30) : known + 30] = np.inf  # the example itself
    return int(distances.argmin()) - wanted


check(
    "One refuel stop as an example finds the other one of the day",
    lambda: abs(best_match()) <= 5,
    saw=lambda: f"the best match begins {abs(best_match())} minutes from the other stop",
    hint=[
        "Look at the number: the best match is at most five minutes off.",
        "Usually the day that was kept is not in the order of time: "
        f"`ls -l {home}` in a terminal lists the day and the notes.",
        "Run the cell that begins `events = data.fleet` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Find two lorries on one road
#
# Signal 2 of two lorries is similar while they drive the same road. An **AB-join** finds for each window of
# one series the nearest window of another one. Every tenth device belongs to the same depot; you compare
# lorries of one depot only.

# %%
def joined(one: str, other: str) -> float:
    return float(stumpy.stump(series[one], 90, series[other], ignore_trivial=False).P_.min())


ordered = events.sort_values("event_ts")
series = {name: rows["iot_signal_2"].to_numpy() for name, rows in ordered.groupby("device_id")}
pairs = pd.DataFrame([(one, other, joined(one, other)) for one in series for other in series
                      if one < other and (int(one, 16) - int(other, 16)) % 10 == 0], columns=["one", "other", "distance"])
pairs = pairs.sort_values("distance")
note(pairs=pairs.query("distance < 2")[["one", "other"]].to_numpy().tolist())
show.table(pairs.head(4).round(2), "One pair is nearer than 2, much nearer than the others")

# %%
def partners() -> list[list[str]]:
    planted = data.fleet.read_truth(source)["planted"]
    return [[name, one["partner"]] for name, one in planted.items() if name < one.get("partner", "") in planted]


check(
    "The pair nearer than 2 is the one that shared a road",
    lambda: sorted(noted()["pairs"]) == sorted(partners()),
    saw=lambda: "; ".join(" and ".join(pair) for pair in noted()["pairs"]) or "no pair",
    hint=[
        "Look at the first row of the table: its distance is well below the next one.",
        "Usually the rows were not sorted before they were grouped: "
        "`ordered['event_ts'].is_monotonic_increasing` in a cell says so.",
        "Run the cells that begin `events = data.fleet` and `def joined(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Find the signals of the motif
#
# `mstump` finds the motif of one, two, three and four signals. Which number is right? **MDL**, the minimum
# description length, counts the bits that are needed when one window is described as a copy of the other.
# The number of signals with the fewest bits is the best.

# %%
four = day[SIGNALS].to_numpy().T
profiles, neighbours = stumpy.mstump(four, window)
places = profiles.argmin(axis=1)
bits, subspaces = stumpy.mdl(four, window, places, neighbours[np.arange(4), places])
best = int(np.argmin(bits))
note(dimensions=[int(one) + 1 for one in subspaces[best]])
sizes = pd.DataFrame({"signals": [f"{len(one)}: {', '.join(str(n + 1) for n in sorted(one))}" for one in subspaces], "bits": bits})
show.bars(sizes, "signals", "bits", "Signals 1 and 3 describe the motif in the fewest bits")

# %%
check(
    "The motif lives in signals 1 and 3",
    lambda: sorted(noted()["dimensions"]) == [1, 3] and truth()["motif"],
    saw=lambda: f"signals {sorted(noted()['dimensions'])}",
    hint=[
        "Look at the bars: the shortest one names the signals.",
        "Usually the four signals are in the wrong order, or not in the order of time: "
        "`print(four.shape)` in a cell must show (4, 1440).",
        "Run the cells that begin `events = data.fleet` and `four = day` again, then this one.",
    ],
)

# %% [markdown]
# ## 7. Find the patterns of the whole fleet
#
# Devices are independent, so they can be computed in parallel. Spark groups the rows by device and passes
# each group as a pandas data frame to a function, in as many processes as there are cores. The function
# does what you did above for one device. The result becomes an **Iceberg** table. With the address of a
# Spark cluster in `spark_master`, the same cell runs there; lab core-03 orders one and prints its address.

# %% tags=["blank"]
def patterns_of(rows: pd.DataFrame) -> pd.DataFrame:
    process.keep_compiled(stumpy)  # each worker is a process of its own
    rows = rows.sort_values("event_ts")
    profile = stumpy.stump(rows["iot_signal_1"].to_numpy(), 60)
    rare = stumpy.stump(rows["iot_signal_4"].to_numpy(), 60).P_.argmax()
    at = int(profile.P_.argmin())
    found = [rows["device_id"].iloc[0], *sorted([at, int(profile.I_[at])]), int(rare), float(profile.P_[at])]
    return pd.DataFrame([found], columns=["device_id", "first", "second", "discord", "distance"])


if spark_master:
    os.environ["SPARK_MASTER"] = spark_master
spark = spark_session("logistics-03")
frame = spark.createDataFrame(events[["device_id", "event_ts", "iot_signal_1", "iot_signal_4"]])
shape = "device_id string, first int, second int, discord int, distance double"
# blank: Name `answers`: `frame` grouped by device_id, each group given to patterns_of with applyInPandas.
# stub: answers = spark.createDataFrame([], shape)
# solution
answers = frame.groupBy("device_id").applyInPandas(patterns_of, shape)
# end of solution
spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.fleet")
answers.writeTo("ice.fleet.profiles").using("iceberg").createOrReplace()
show.table(spark.table("ice.fleet.profiles").orderBy("device_id").limit(5).toPandas().round(2), "One row for each device")

# %%
def hits() -> tuple[int, int]:
    planted = data.fleet.read_truth(source)["planted"]
    rows = spark.table("ice.fleet.profiles").toPandas().set_index("device_id")
    right = [near(rows.loc[name, ["first", "second"]].tolist(), one["motif"])
             and -60 < rows.loc[name, "discord"] - one["discord"] < 30 for name, one in planted.items()]
    return sum(right), len(right)


check(
    "The table has one row for each device, and the patterns of nearly all of them are right",
    lambda: spark.table("ice.fleet.profiles").count() == hits()[1] and hits()[0] >= 0.95 * hits()[1],
    saw=lambda: f"{hits()[0]} of {hits()[1]} devices",
    hint=[
        "Look at the two numbers: all devices, or one or two fewer.",
        "Usually the table is empty, or the function does not sort: "
        "`spark.table('ice.fleet.profiles').show()` in a cell shows the rows.",
        "Run the cells that begin `events = data.fleet` and `def patterns_of(` again, then this one.",
    ],
)

# %% [markdown]
# ## If it does not work
#
# - **The first call takes a minute**: numba compiles stumpy once. The next notebook reads the code from
#   your cache folder; if that folder cannot be written, each notebook compiles again.
# - **A pattern of four numbers matches everywhere**: it is too short. Take a longer one.
# - **`TypeError` about integers**: stumpy needs floating-point numbers; `to_numpy(float)` makes them.

# %% [markdown]
# ## Exercise
#
# A million devices send one day each. Measure the time that `patterns_of` takes for one device on your
# machine, and compute how many minutes 100 cores need. Store them in `needed`.
#
# Hint: call `perf_counter` before and after a few calls; devices are independent, so divide by the cores.

# %% tags=["exercise"]
# stub: needed = 0.0
# solution
from time import perf_counter
began = perf_counter()
for _ in range(5):
    patterns_of(day)
each = (perf_counter() - began) / 5
needed = each * 1_000_000 / 100 / 60
# end of solution
print(f"{needed:.1f} minutes on 100 cores, {needed * 100 / 60:.1f} hours on one")

# %% [markdown]
# ## Recap
#
# - The **motif** is where the matrix profile is lowest, the **discord** where it is highest.
# - A **query** needs a distinctive shape; four falling numbers have none.
# - An AB-join found two lorries **on the same road**, and MDL the signals of the motif.
# - **Spark** did for all devices what you did for one; the table is `ice.fleet.profiles`.
#
# More: [the matrix profile in stumpy](https://stumpy.readthedocs.io/en/latest/Tutorial_The_Matrix_Profile.html),
# [motifs of several signals](https://stumpy.readthedocs.io/en/latest/Tutorial_Multidimensional_Motif_Discovery.html),
# [papers on the matrix profile](https://www.cs.ucr.edu/~eamonn/MatrixProfile.html).
#
# Next: deploy two of these functions as models.

# %%
quiz(
    "Two z-normalised windows have the distance 0. What do you know?",
    ["They have the same values", "They have the same shape", "They are at the same time of day"],
    right=1,
    because="z-normalisation removes mean and scale; only the shape is compared.",
)
quiz(
    "Why is each call given one thread when there are many devices?",
    ["Threads are not allowed in Spark", "The result depends on threads", "Processes use the cores already"],
    right=2,
    because="A second thread saves nothing on short series, and slows a busy machine down.",
)
quiz(
    "What must happen before any of this?",
    ["The rows are put in the order of time", "The signals are rounded", "The stops are filtered out"],
    right=0,
    because="A window of rows is a window of time only when no row is missing or out of place.",
)

# %% [markdown]
# ## Clean up
#
# The table and your notes stay. To remove them, type `finished = True` in a cell and run this one;
# running it twice is safe.

# %%
if finished:
    spark.sql("DROP TABLE IF EXISTS ice.fleet.profiles")
print(f"Removed: {fresh(home)} and the table" if finished else "Kept: ice.fleet.profiles and your notes")
