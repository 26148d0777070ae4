"""The fleet: the same for the same seed, any device alone, and what is planted can be found."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from typer.testing import CliRunner

from labdata import fleet
from labdata.errors import DataError
from labdata.fleet import borders, failures, roads, rows, signals
from labdata.fleet.files import states_of
from labdata.ranking import area_under_curve
from labrunner.cli import app

pytestmark = pytest.mark.fast

DATASETS = Path(__file__).parents[2] / "datasets"
SEEDS = [1, 2, 3, 20]
Values = NDArray[np.float64]


@pytest.fixture(scope="module")
def polygons() -> borders.Borders:
    return borders.read(DATASETS)


def test_committed_sample_is_what_the_seed_makes(tmp_path: Path) -> None:
    fleet.write_fleet(tmp_path)
    for file in (tmp_path / "fleet").iterdir():
        assert file.read_bytes() == (DATASETS / "fleet" / file.name).read_bytes(), file.name
        assert file.stat().st_size < 5_000_000


def test_page_about_the_data_holds_the_checksums() -> None:
    page = (DATASETS / "README.md").read_text("utf-8")
    for file in (DATASETS / "fleet").glob("*[!n]"):  # all but the truth, which no lab reads
        assert f"{file.stat().st_size:,}" in page, file.name
        assert hashlib.sha256(file.read_bytes()).hexdigest() in page, file.name


@pytest.mark.parametrize("seed", SEEDS)
def test_device_depends_on_seed_device_and_day_alone(seed: int) -> None:
    batch = fleet.batch_of(seed, [3, 17, 1000], day=1)
    alone = fleet.day_of(seed, 1000, day=1)
    mine = batch[(batch["device_id"] == fleet.device_name(1000)) & (batch["event_ts"].dt.day == 3)]
    assert set(mine["id"]) < set(alone["id"])
    both = mine.drop_duplicates("id").merge(alone, how="inner")
    assert len(both) == mine["id"].nunique()
    assert not fleet.day_of(seed, 1000, day=0).equals(alone)
    assert not fleet.day_of(seed + 1, 1000, day=1)["iot_signal_1"].equals(alone["iot_signal_1"])


@pytest.mark.parametrize("seed", SEEDS)
def test_two_batches_hold_each_row_of_the_first_day(seed: int) -> None:
    first, second = (fleet.batch_of(seed, range(10), day) for day in (0, 1))
    assert first["id"].duplicated().sum() > 0
    missing = 10 * 1440 - first["id"].nunique()
    late = second["event_ts"] < "2026-03-03"
    assert missing == late.sum() > 100
    assert pd.concat([first, second[late]])["id"].nunique() == 10 * 1440


@pytest.mark.parametrize("seed", SEEDS)
def test_one_manufacturer_swaps_the_axes_and_some_rows_are_nowhere(seed: int) -> None:
    day = pd.concat([fleet.day_of(seed, device) for device in range(12)])
    nowhere = (day["latitude"] == 0) & (day["longitude"] == 0)
    assert 0 < nowhere.mean() < 0.003
    swapped = day[~nowhere].groupby("manufacturer")["latitude"].max() < 0
    assert list(swapped[swapped].index) == [rows.swapped_of(seed)]
    assert len(swapped) == 3


def profile(one: Values, other: Values, window: int, exclude: int) -> tuple[Values, Values]:
    """Return each window's smallest z-normalised distance, and where: all pairs, no library."""
    parts = []
    for series in (one, other):
        cut = sliding_window_view(series, window)
        spread = cut.std(axis=1, keepdims=True)
        parts.append((cut - cut.mean(axis=1, keepdims=True)) / spread)
    alike = parts[0] @ parts[1].T / window
    if exclude:
        rows_, columns = np.indices(alike.shape, sparse=True)
        alike[np.abs(rows_ - columns) <= exclude] = -1
    best = alike.argmax(axis=1)
    return np.sqrt(2 * window * (1 - alike.max(axis=1)).clip(0)), best


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_motif_and_discord_are_found(seed: int) -> None:
    for device in (0, 33):
        lanes, _ = signals.signals_of(seed, device)
        plan = signals.plan_of(seed, device)
        for lane in (0, 2):
            distance, where = profile(lanes[lane], lanes[lane], 60, 15)
            first = int(distance.argmin())
            found = sorted((first, int(where[first])))
            assert np.abs(np.subtract(found, plan.motif)).max() <= 5, (seed, device, lane)
        distance, _ = profile(lanes[3], lanes[3], 60, 15)
        assert -60 < int(distance.argmax()) - plan.discord < 30, (seed, device)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_devices_of_one_depot_share_a_walk(seed: int) -> None:
    one, other = signals.pair_of(seed, 0)
    assert roads.home_of(one) == roads.home_of(other)
    assert signals.plan_of(seed, one).partner == other
    lanes = {device: signals.signals_of(seed, device)[0][1] for device in range(one % 10, 40, 10)}
    distance = {
        device: profile(lanes[one], lane, 90, 0)[0].min()
        for device, lane in lanes.items()
        if device != one
    }
    assert min(distance, key=lambda device: distance[device]) == other
    assert distance.pop(other) < 2.2 < min(distance.values())


def test_patterns_of_a_day_never_overlap() -> None:
    for seed in range(200):
        plan = signals.plan_of(seed, seed)
        parts = [(start, start + 60) for start in plan.motif]
        parts += [(plan.discord, plan.discord + 30), (plan.shared or 0, (plan.shared or 0) + 90)]
        parts = sorted(part for part in parts if part[0])
        assert parts[0][0] >= 15
        assert all(then[0] - now[1] >= 15 for now, then in pairwise(parts)), parts
        assert parts[-1][1] <= 1440 - 12


def test_towns_lie_in_their_states(polygons: borders.Borders) -> None:
    lat, lon, states = zip(*roads.TOWNS.values(), strict=True)
    assert states_of(np.array(lon), np.array(lat), polygons) == list(states)
    assert len(set(states)) == 5


@pytest.mark.parametrize("seed", [8])
def test_fleet_drives_in_five_states_and_crosses_rivers(
    polygons: borders.Borders, seed: int
) -> None:
    seen, crossings = set(), 0
    for device in range(40):
        states = states_of(*rows.true_position(seed, device), polygons)
        seen |= set(states)
        crossings += sum(a != b for a, b in pairwise(states))
    assert seen == {"Iowa", "Nebraska", "Illinois", "Minnesota", "Missouri"}
    assert crossings > 20


def test_holes_and_islands_are_told_apart() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], dtype=float)
    ring = [[square, square / 2 + 1], [square + 10]]
    lon = np.array([0.5, 2.0, 12.0, 9.0])
    assert states_of(lon, lon, {"A": ring}) == ["A", "", "A", ""]


def test_topology_is_converted_with_shared_borders() -> None:
    arcs = [
        [[0, 0], [10, 0]],
        [[10, 0], [0, 10], [-10, 0], [0, -10]],
        [[10, 0], [10, 0], [0, 10], [-10, 0]],
    ]
    shapes = [
        {"type": "Polygon", "id": "2", "arcs": [[0, 1]], "properties": {"name": "left"}},
        {"type": "MultiPolygon", "id": "1", "arcs": [[[2, ~1, ~0]]], "properties": {"name": "odd"}},
    ]
    topology = {
        "transform": {"scale": [0.1, 0.5], "translate": [-1, 2]},
        "arcs": arcs,
        "objects": {"states": {"geometries": shapes}},
    }
    made = json.loads(borders.convert(topology))["features"]
    assert [one["properties"]["name"] for one in made] == ["odd", "left"]
    (ring,) = made[1]["geometry"]["coordinates"][0]
    assert ring == [[-1, 2], [0, 2], [0, 7], [-1, 7], [-1, 2]]


@pytest.mark.parametrize("seed", SEEDS)
def test_failures_have_a_ceiling_and_the_event_leaks(seed: int) -> None:
    frame = failures.failures_of(seed, range(20))
    label = frame["iot_failure"].to_numpy() == 1
    assert 0.10 < label.mean() < 0.13
    best = fleet.best_auc(frame)
    assert 0.88 < best < 0.92
    leak = failures.chance(frame) + (frame["event_type"] == "system malfunction").to_numpy()
    assert area_under_curve(label, leak) > best + 0.04
    order = np.argsort(failures.chance(frame))
    for part in np.array_split(order, 10):  # the chances are true
        assert abs(label[part].mean() - failures.chance(frame)[part].mean()) < 0.03


def test_month_of_drift_moves_three_signals_and_keeps_the_ranking() -> None:
    quiet, drift = (failures.failures_of(5, range(10), drift=moved) for moved in (False, True))
    names = [f"iot_signal_{number}" for number in (1, 2, 3, 4)]
    moved = (drift[names].mean() - quiet[names].mean()) / quiet[names].std()
    assert np.allclose(moved, failures.DRIFT, atol=0.03)
    assert drift["iot_failure"].mean() > 2 * quiet["iot_failure"].mean()
    assert abs(fleet.best_auc(drift) - fleet.best_auc(quiet)) < 0.03


def test_truth_arrives_late_and_sometimes_never() -> None:
    frame = failures.failures_of(5, range(10), day=2)
    truths = fleet.truths_of(5, frame)
    assert 0.94 < len(truths) / len(frame) < 0.96
    lag = truths["known_ts"].to_numpy() - frame.set_index("id").loc[truths["id"], "event_ts"]
    assert 5.8 < lag.mean() / pd.Timedelta(hours=1) < 6.2
    part = fleet.truths_of(5, frame[frame["device_id"] == fleet.device_name(4)])
    pd.testing.assert_frame_equal(part, truths.merge(part[["id"]]))


def test_command_writes_a_fleet_that_can_be_read(tmp_path: Path) -> None:
    arguments = ["data", "fleet", "--devices", "3", "--days", "2", "--seed", "9"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "8,640 rows in 2 files" in done.output
    place = fleet.find_fleet(str(tmp_path))
    events = fleet.read_events(place, day=1)
    assert (len(events), events["id"].nunique(), list(events)) == (4320, 4320, list(fleet.COLUMNS))
    assert events["event_ts"].is_monotonic_increasing is False, "late rows stand at the end"
    assert fleet.read_truth(place)["seed"] == 9
    with pytest.raises(DataError, match="a day from 0 to 1"):
        fleet.read_events(place, day=2)


def test_folder_without_a_fleet_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labs data fleet --out"):
        fleet.find_fleet(str(tmp_path))
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "events-2026-03-02.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="expected a Parquet file"):
        fleet.read_events(fleet.find_fleet(str(tmp_path)))
