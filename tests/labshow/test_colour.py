"""Colours are told apart by eyes that see no red, no green or no blue, and words are read easily.

Contrast is WCAG's; what colour-blind eyes see is simulated with the matrices of Machado, Oliveira
and Fernandes (2009) for eyes that lack one kind of cone, and compared as distances in CIELAB.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from labrunner import picture
from labshow import colour, show

pytestmark = pytest.mark.fast

Colour = np.ndarray[tuple[int], np.dtype[np.float64]]
ROOT = Path(__file__).resolve().parents[2]
SERIES = (colour.BLUE, colour.ORANGE, colour.GREEN, colour.PINK, colour.DARK)
APART = 14.0  # a distance of 2.3 is just seen side by side
EYES = {
    "all cones": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def light(written: str) -> Colour:
    """Return the light of `#rrggbb` or `#rgb`."""
    digits = written.lstrip("#")
    digits = "".join(one * 2 for one in digits) if len(digits) == 3 else digits
    parts = np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(XYZ[1] @ light(written)) for written in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str, eyes: str) -> float:
    def seen(written: str) -> Colour:
        white = np.array([0.95047, 1.0, 1.08883])
        tone = XYZ @ np.clip(EYES[eyes] @ light(written), 0, 1) / white
        root = np.where(tone > 0.008856, np.cbrt(tone), 7.787 * tone + 16 / 116)
        return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])

    return float(np.linalg.norm(seen(one) - seen(other)))


def confused(colours: tuple[str, ...], eyes: str) -> list[tuple[str, str]]:
    pairs = itertools.combinations(colours, 2)
    return [pair for pair in pairs if distance(*pair, eyes) < APART]


@pytest.mark.parametrize("eyes", EYES)
def test_lines_are_told_apart_by_all_eyes(eyes: str) -> None:
    assert confused(SERIES, eyes) == []


def test_red_and_green_of_one_lightness_are_found() -> None:
    assert confused(("#c00000", "#556b00"), "no green")
    assert not confused(("#c00000", "#556b00"), "all cones")


@pytest.mark.parametrize("drawn", [*SERIES, colour.GREY])
def test_what_is_drawn_stands_out_on_white(drawn: str) -> None:
    assert contrast(drawn, "#ffffff") >= 3


def test_pale_line_is_found() -> None:
    assert contrast("#F0E442", "#ffffff") < 3


def test_contrast_is_the_one_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#fff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("words", [colour.INK, colour.GOOD, colour.BAD, "#595959"])
def test_words_are_read_easily(words: str) -> None:
    assert contrast(words, "#ffffff") >= 4.5


def test_pictures_of_the_labs_use_these_colours() -> None:
    show.style()
    cycle = [f"#{style['color'].lstrip('#')}" for style in plt.rcParams["axes.prop_cycle"]]
    assert cycle == list(SERIES)


def test_labels_of_axes_are_read_easily() -> None:
    show.style()
    for name in ("axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"):
        assert (
            contrast(plt.rcParams[name], plt.rcParams["figure.facecolor"].replace("white", "fff"))
            >= 4.5
        )


@pytest.mark.parametrize("tone", picture.TONES)
def test_words_and_edges_of_diagrams_stand_out(tone: str) -> None:
    fill, edge = picture.TONES[tone]
    assert contrast(picture._INK, fill) >= 4.5
    assert contrast(picture._FAINT, fill) >= 4.5
    assert contrast(edge, "#ffffff") >= 3


def schemes(page: str) -> dict[str, dict[str, str]]:
    """Return the light and the dark colours of a page by the names of its CSS variables."""
    found = re.findall(r":root *\{(.*?)\}", page, re.S)
    named = [dict(re.findall(r"--(\w+) *: *(#\w+)", block)) for block in found]
    return {"light": named[0], "dark": {**named[0], **named[1]}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_the_report_are_read_easily(scheme: str) -> None:
    tones = schemes((ROOT / "labrunner" / "report.html.j2").read_text("utf-8"))[scheme]
    pairs = [("ink", "paper"), ("ink", "card"), ("soft", "paper"), ("soft", "card")]
    pairs += [("good", "card"), ("bad", "card"), ("bar", "card"), ("bar", "paper")]
    pairs += [
        ("good", "goodpaper"),
        ("bad", "badpaper"),
        ("idle", "idlepaper"),
        ("ink", "badpaper"),
    ]
    assert [pair for pair in pairs if contrast(tones[pair[0]], tones[pair[1]]) < 4.5] == []
    for eyes in EYES:
        assert confused((tones["good"], tones["bad"]), eyes) == []


def test_report_has_the_colours_of_the_labs() -> None:
    tones = schemes((ROOT / "labrunner" / "report.html.j2").read_text("utf-8"))["light"]
    assert (tones["good"].upper(), tones["bad"].upper()) == (colour.GOOD, colour.BAD)
    assert (tones["ink"].upper(), tones["line"].upper()) == (colour.INK, colour.LINE)
