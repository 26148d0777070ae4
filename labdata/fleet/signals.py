"""A device's day: four signals a minute, with patterns in known places.

Each signal has a level, the rhythm of driving and standing, a slow walk and noise. Into that are
planted, in places that only the truth files name:

- a *motif*, twice: the refuel stop, 60 minutes long, in signals 1 and 3 at the same time;
- a *discord*: half an hour of growing noise in signal 4, a sensor that comes loose;
- a *shared walk*: two devices of one depot drove the same road: 90 minutes of signal 2 are alike.

All numbers come from raw bits, so they are the same with every NumPy; a day depends on the seed,
the device and the day alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["BLOCK", "DISCORD", "MINUTES", "MOTIF", "SHARED", "Plan", "draw", "pair_of", "plan_of",
           "signals_of"]  # fmt: skip

MINUTES = 1440
MOTIF, DISCORD, SHARED = 60, 30, 90  # minutes
LEVELS = (5.0, 6.0, 52.0, 103.0)
NOISE, QUIET = 0.12, 0.06  # standard deviations: everywhere, and in a refuel stop
DEPTHS = {0: 2.0, 2: 1.6}  # how far signals 1 and 3 fall in a refuel stop
BLOCK = 40  # in each block of so many devices, two share a walk
MARGIN, APART = 12, 0.8  # minutes before and after a planted pattern, and how much they differ
DEPOT = 10  # devices k and k + 10 have the same depot

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What is planted in one device's day: minutes, and the device it shares a walk with."""

    motif: tuple[int, int]
    discord: int
    shared: int | None = None
    partner: int | None = None


def draw(seed: int, device: int, day: int, lane: int, count: int) -> Values:
    """Return random numbers in (0, 1) that depend on these four numbers alone."""
    bits = np.random.SFC64([seed, device, day, lane]).random_raw(count)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def pair_of(seed: int, block: int) -> tuple[int, int]:
    """Return the two devices of a block that share a walk; both have the same depot."""
    first, jump = draw(seed, block, 0, 90, 2)
    one = int(first * BLOCK)
    other = (one + DEPOT * (1 + int(jump * (BLOCK // DEPOT - 1)))) % BLOCK
    low, high = sorted((one, other))
    return block * BLOCK + low, block * BLOCK + high


def plan_of(seed: int, device: int, day: int = 0) -> Plan:
    """Return where the patterns of a device's day are; they never overlap."""
    dice = draw(seed, device, day, 91, 8)
    quarters = np.argsort(dice[:4])  # one pattern in each quarter of the day
    space = MINUTES // 4

    def begin(at: int, length: int) -> int:
        return int(quarters[at] * space + dice[4 + at] * (space - length - 30)) + 15

    first, second = sorted((begin(0, MOTIF), begin(1, MOTIF)))
    pair = pair_of(seed, device // BLOCK)
    if device not in pair:
        return Plan((first, second), begin(2, DISCORD))
    partner = pair[0] if device == pair[1] else pair[1]
    return Plan((first, second), begin(2, DISCORD), begin(3, SHARED), partner)


def signals_of(seed: int, device: int, day: int = 0) -> tuple[Values, Values]:
    """Return the four signals of a device's day, and its speed in km a minute."""
    plan = plan_of(seed, device, day)
    rhythm = _rhythm(seed, device, day)
    signals = np.array([
        level + share * rhythm + _walk(seed, device, day, lane) + _noise(seed, device, day, lane)
        for lane, (level, share) in enumerate(zip(LEVELS, (0.9, 0.5, 0.8, 0.9), strict=True))
    ])  # fmt: skip
    speed = np.clip(0.95 + 0.75 * rhythm, 0, 1.75)
    shape = _refuel()
    for number, start in enumerate(plan.motif):
        window = slice(start, start + MOTIF)
        speed[window] *= shape > -0.2
        for lane, depth in DEPTHS.items():
            quiet = QUIET * ndtri(draw(seed, device, day, 20 + 4 * number + lane, MOTIF))
            signals[lane, window] = LEVELS[lane] + depth * shape + quiet
            _set_apart(signals[lane], window, number)
    loose = np.linspace(0.8, 3.0, DISCORD) * ndtri(draw(seed, device, day, 30, DISCORD))
    signals[3, plan.discord : plan.discord + DISCORD] += loose
    if plan.shared is not None and plan.partner is not None:
        road = _road(seed, min(device, plan.partner), day)
        rough = 0.15 * ndtri(draw(seed, device, day, 31, SHARED))
        window = slice(plan.shared, plan.shared + SHARED)
        signals[1, window] = LEVELS[1] + road + rough
        _set_apart(signals[1], window, int(device > plan.partner))
    return signals.round(3), speed


def _set_apart(lane: Values, window: slice, number: int) -> None:
    """Make the minutes around two equal windows differ, so that the match begins where it does."""
    step = APART if number else -APART
    lane[window.start - MARGIN : window.start] += step
    lane[window.stop : window.stop + MARGIN] -= step


def _refuel() -> Values:
    """Return the shape of a refuel stop: it falls, rests, rises steeply, and settles."""
    fall = np.linspace(0.5, -1.0, 8)
    rest = np.full(20, -1.0)
    rise = np.linspace(-1.0, 1.0, 5)
    settle = np.exp(-np.linspace(0, 1.2, 27)) * np.cos(np.linspace(0, 4 * np.pi, 27))
    return np.concatenate([fall, rest, rise, settle])


def _rhythm(seed: int, device: int, day: int) -> Values:
    """Return driving and standing: one period of 85 to 100 minutes, and a harmonic."""
    period, phase, second = draw(seed, device, day, 40, 3)
    angle = 2 * np.pi * (np.arange(MINUTES) / (85 + 15 * period) + phase)
    return np.asarray(np.sin(angle) + 0.45 * np.sin(2 * angle + 2 * np.pi * second))


def _walk(seed: int, device: int, day: int, lane: int) -> Values:
    """Return a slow walk that stays near zero."""
    knots = 0.35 * ndtri(draw(seed, device, day, 50 + lane, 13))
    return np.asarray(np.interp(np.arange(MINUTES), np.linspace(0, MINUTES - 1, 13), knots))


def _noise(seed: int, device: int, day: int, lane: int) -> Values:
    return np.asarray(NOISE * ndtri(draw(seed, device, day, 60 + lane, MINUTES)))


def _road(seed: int, device: int, day: int) -> Values:
    """Return the walk that two devices share."""
    steps = ndtri(draw(seed, device, day, 70, SHARED))
    walk = np.cumsum(steps)
    return np.asarray(1.2 * (walk - walk.mean()) / walk.std())
