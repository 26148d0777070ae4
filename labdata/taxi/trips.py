"""One block of trips after another: the ride, its price, and then the dirt of real files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from labdata.taxi import zones
from labdata.taxi.city import GOALS, City, Drift, build, hour_weights, kind_of_hour
from labdata.taxi.tariff import Tariff, tariff_on

__all__ = ["BLOCK", "COLUMNS", "SCHEMA", "Month", "make_block"]

BLOCK = 65536  # rows; small enough for its columns to stay in the processor's cache
LANES = 12  # independent 16-bit random numbers per row

_NUMBER, _WHEN, _MONEY = pa.int64(), pa.timestamp("us"), pa.float64()
SCHEMA = pa.schema(
    [
        ("VendorID", _NUMBER),
        ("tpep_pickup_datetime", _WHEN),
        ("tpep_dropoff_datetime", _WHEN),
        ("passenger_count", pa.float64()),
        ("trip_distance", pa.float64()),
        ("RatecodeID", pa.float64()),
        ("store_and_fwd_flag", pa.string()),
        ("PULocationID", _NUMBER),
        ("DOLocationID", _NUMBER),
        ("payment_type", _NUMBER),
        ("fare_amount", _MONEY),
        ("extra", _MONEY),
        ("mta_tax", _MONEY),
        ("tip_amount", _MONEY),
        ("tolls_amount", _MONEY),
        ("improvement_surcharge", _MONEY),
        ("total_amount", _MONEY),
        ("congestion_surcharge", _MONEY),
        ("airport_fee", _MONEY),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
PRICES = (
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "congestion_surcharge",
    "airport_fee",
)

Ints = NDArray[np.int32]
Lanes = NDArray[np.uint16]


@dataclass(frozen=True)
class Month:
    """What all blocks of one month share."""

    year: int
    month: int
    rows: int
    seed: int
    drift: Drift = field(default_factory=Drift)
    strays: int = 0  # rows at its end that slipped in from two years before

    @property
    def blocks(self) -> int:
        """Return the number of blocks this month is made of."""
        return -(-self.rows // BLOCK)

    def hours(self) -> NDArray[np.float64]:
        """Return the running share of trips at the start of each hour, and 1.0 at the end."""
        weights = hour_weights(self.year, self.month, self.seed)
        edges = np.concatenate([[0.0], np.cumsum(weights)])
        edges[-1] = 1.0
        return edges


@dataclass
class Ride:
    """The columns of a block while it is being made; zones are counted from 0."""

    pickup: NDArray[np.int64]  # seconds since 1970, wall clock
    hour: NDArray[np.int16]  # 0-47: hour of a working day or of a day off
    start: NDArray[np.uint16]
    goal: NDArray[np.uint16]
    miles: NDArray[np.float32]
    seconds: Ints


def make_block(month: Month, number: int) -> pa.RecordBatch:
    """Make one block of a month; the same seed makes the same block, in any order."""
    first = number * BLOCK
    rows = min(BLOCK, month.rows - first)
    bits = np.random.SFC64([month.seed, month.year, month.month, number])
    lanes = bits.random_raw(-(-rows * LANES // 4)).view(np.uint16)[: rows * LANES]
    lanes = lanes.reshape(LANES, rows)
    city = build(month.drift)
    ride = _drive(city, month, first, lanes)
    tariff = tariff_on(date(month.year, month.month, 1)).raised(month.drift.fare)
    columns = _price(city, tariff, ride, lanes)
    return _dirty(month, first, ride, columns, lanes)


def _drive(city: City, month: Month, first: int, lanes: Lanes) -> Ride:
    """Draw when, from where, to where, how far and how long."""
    rows = lanes.shape[1]
    edges = month.hours()
    position = (first + np.arange(rows) + lanes[0] * 2.0**-16) / month.rows
    low = int(np.searchsorted(edges, position[0], "right")) - 1
    high = min(int(np.searchsorted(edges, position[-1], "right")) - 1, len(edges) - 2)
    span = np.arange(low, high + 1)
    counts = np.diff(np.searchsorted(position, edges[low + 1 : high + 1]), prepend=0, append=rows)
    midnight = int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp())
    rate = 3600.0 / (edges[span + 1] - edges[span])
    offset = span * 3600.0 - edges[span] * rate
    pickup = (position * np.repeat(rate, counts) + np.repeat(offset, counts)).astype(np.int64)
    pickup += midnight
    weekday = ((midnight // 86400 + 3 + span // 24) % 7).astype(np.int16)
    day_off = weekday >= 5
    hour_kind = (span % 24 + 24 * day_off).astype(np.int16)
    kinds = [kind_of_hour(int(h % 24), bool(off)) for h, off in zip(span, day_off, strict=True)]
    hail = np.repeat(np.array(kinds, np.int32) * len(city.detour), counts)
    start = city.pickup.reshape(-1).take(hail + lanes[1])
    times = np.array([(0, 1, 2, 3, 0)[kind % 5] for kind in kinds], np.int32)
    rows_of = np.repeat(times * (zones.COUNT * GOALS), counts)
    goal = city.dropoff.reshape(-1).take(rows_of + start.astype(np.int32) * GOALS + (lanes[2] >> 3))
    pair = start.astype(np.int32) * zones.COUNT + goal
    miles = city.miles.reshape(-1).take(pair) * city.detour.take(lanes[3])
    hour = np.repeat(hour_kind, counts)
    return Ride(pickup, hour, start, goal, miles, _last(city, hour, start, goal, miles, lanes[4]))


def _last(
    city: City,
    hour: NDArray[np.int16],
    start: NDArray[np.uint16],
    goal: NDArray[np.uint16],
    miles: NDArray[np.float32],
    lane: NDArray[np.uint16],
) -> Ints:
    """Return the seconds of each ride: long rides use faster roads, and all wait at the ends."""
    areas = len(zones.AREAS)
    where = hour.astype(np.int32) * (areas * areas)
    where += city.area.take(start).astype(np.int32) * areas
    where += city.area.take(goal)
    pace = city.pace.reshape(-1).take(where)
    faster = np.minimum(miles, np.float32(12.0)) * np.float32(0.075) + np.float32(0.85)
    seconds = miles * pace / faster * city.traffic.take(lane) + np.float32(70.0)
    return seconds.astype(np.int32)


def _price(city: City, tariff: Tariff, ride: Ride, lanes: Lanes) -> dict[str, NDArray[np.int32]]:
    """Return the columns about money, in cents, and how it was paid."""
    area_from, area_to = city.area.take(ride.start), city.area.take(ride.goal)
    jfk = zones.AIRPORTS["JFK"] - 1
    flat = ((ride.start == jfk) & (area_to < 3)) | ((ride.goal == jfk) & (area_from < 3))
    newark = ride.goal == zones.AIRPORTS["EWR"] - 1
    haggled = lanes[9] < 260  # 0.4 %
    rate = np.where(flat, np.int32(2), np.where(newark, np.int32(3), np.int32(1)))
    rate[haggled] = 5
    slow = np.maximum(ride.seconds - ride.miles * np.float32(200.0), 0) * np.float32(1 / 60)
    units = np.ceil(ride.miles * np.float32(5.0) + slow).astype(np.int32)
    fare = units * np.int32(tariff.unit) + np.int32(tariff.start)
    fare += newark * np.int32(tariff.newark)
    fare[flat] = tariff.flat_jfk
    fare[haggled] = (lanes[10][haggled] >> 3).astype(np.int32) + 1000
    clock = np.arange(48) % 24
    rush = (np.arange(48) < 24) & (clock >= 16) & (clock < 20)
    extras = np.where((clock >= 20) | (clock < 6), tariff.night, rush * tariff.rush)
    extra = extras.astype(np.int32).take(ride.hour)
    congestion = ((area_from < 2) | (area_to < 2)) * np.int32(tariff.congestion)
    airport = (area_from == 7) * np.int32(tariff.airport)
    tolled = (area_from < 3) != (area_to < 3)
    chance = np.where((area_from >= 7) | (area_to >= 7), np.uint16(36000), np.uint16(9000))
    tolls = (tolled & (lanes[8] < chance)) * np.int32(694) + newark * np.int32(1000)
    before = fare + extra + congestion + airport + tolls + (tariff.tax + tariff.improvement)
    cash = (lanes[5] & 255) < np.where(area_from < 3, np.uint16(38), np.uint16(70))
    payment = np.where(cash, np.int32(2), np.int32(1))
    tip = _tip(before, lanes[6])
    tip[cash] = 0  # a tip in cash is not on the meter
    full = np.full(len(fare), 1, np.int32)
    return {
        "RatecodeID": rate,
        "payment_type": payment,
        "fare_amount": fare,
        "extra": extra,
        "mta_tax": full * tariff.tax,
        "tip_amount": tip,
        "tolls_amount": tolls,
        "improvement_surcharge": full * tariff.improvement,
        "congestion_surcharge": congestion,
        "airport_fee": airport,
    }


def _tip(before: Ints, lane: NDArray[np.uint16]) -> Ints:
    """Tip by card: most press 20, 25 or 30 %, some type an amount, some give nothing."""
    choice = np.arange(1024)
    per_mille = np.select(
        [choice < 46, choice < 540, choice < 690, choice < 760],
        [0, 200, 250, 300],
        100 + (choice * 7) % 120,
    ).astype(np.int32)
    return before * per_mille.take(lane >> 6) // np.int32(1000)


def _dirty(
    month: Month, first: int, ride: Ride, cents: dict[str, Ints], lanes: Lanes
) -> pa.RecordBatch:
    """Spoil some rows the way real files are spoiled, and return the block in TLC's types."""
    rows = lanes.shape[1]
    dirt, amount = lanes[7], lanes[11]
    seconds = ride.seconds
    backwards = _between(dirt, 0, 0.0005)
    seconds[backwards] = -(amount[backwards] >> 4).astype(np.int32)
    seconds[_between(dirt, 0.0005, 0.0015)] = 0
    forgotten = _between(dirt, 0.0015, 0.0035)  # the meter ran for a day
    seconds[forgotten] = np.int32(86399) - (amount[forgotten] >> 8)
    ride.miles[_between(dirt, 0.0035, 0.0110)] = 0
    start = ride.start.astype(np.int64) + 1
    goal = ride.goal.astype(np.int64) + 1
    nowhere = _between(dirt, 0.0110, 0.0170)
    start[nowhere] = zones.UNKNOWN[0] + (amount[nowhere] & 1)
    nowhere = _between(dirt, 0.0140, 0.0210)
    goal[nowhere] = zones.UNKNOWN[0] + (amount[nowhere] >> 1 & 1)
    refund = _between(dirt, 0.0210, 0.0260)
    cents["payment_type"][refund] = 3 + (amount[refund] & 1)
    cents["tip_amount"][refund] = 0
    for name in PRICES:
        cents[name][refund] *= -1
    total = sum((cents[name] for name in PRICES), np.zeros(rows, np.int32))
    unsaid = _between(dirt, 0.0400, 0.0750)  # app rides, which carry none of the driver's entries
    cents["payment_type"][unsaid] = 0
    pickup = ride.pickup
    if month.strays and first + rows == month.rows:
        pickup[max(0, rows - month.strays) :] -= 731 * 86400
    people = np.array([1] * 186 + [2] * 38 + [3] * 9 + [4] * 6 + [5] * 7 + [6] * 6 + [0] * 4)
    flag = pa.DictionaryArray.from_arrays(
        (lanes[9] > 65100).astype(np.int8), pa.array(["N", "Y"]), safe=False
    )
    made = {
        "VendorID": np.where(lanes[9] & 7 < 2, np.int64(1), np.int64(2)),
        "tpep_pickup_datetime": pickup * 1_000_000,
        "tpep_dropoff_datetime": (pickup + seconds) * 1_000_000,
        "passenger_count": people.astype(np.float64).take(lanes[5] >> 8),
        "trip_distance": np.rint(ride.miles * np.float32(100)).astype(np.float64) / 100,
        "RatecodeID": cents["RatecodeID"].astype(np.float64),
        "PULocationID": start,
        "DOLocationID": goal,
        "payment_type": cents["payment_type"].astype(np.int64),
        "total_amount": total / 100,
        **{name: cents[name] / 100 for name in PRICES},
    }
    hidden = {"passenger_count", "RatecodeID", "congestion_surcharge", "airport_fee"}
    arrays = [
        flag.cast(pa.string())
        if name == "store_and_fwd_flag"
        else pa.array(made[name], SCHEMA.field(name).type, mask=unsaid if name in hidden else None)
        for name in COLUMNS
    ]
    batch = pa.record_batch(arrays, schema=SCHEMA)
    return _repeated(month, first, batch)


def _repeated(month: Month, first: int, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Let the month's first block carry one batch twice, in place of the rows that follow it."""
    count = min(month.rows // 500, batch.num_rows // 4)
    if first or not count:
        return batch
    whole = np.arange(batch.num_rows)
    whole[2 * count : 3 * count] = whole[count : 2 * count]
    return batch.take(pa.array(whole))


def _between(lane: NDArray[np.uint16], low: float, high: float) -> NDArray[np.bool_]:
    picked: NDArray[np.bool_] = (lane >= int(low * 65536)) & (lane < int(high * 65536))
    return picked
