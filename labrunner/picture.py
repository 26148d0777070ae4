"""Draw the labs' pictures: boxes and arrows from a TOML file, in one visual style.

`Pictures/_src/<name>.toml` is what people edit, `Pictures/<name>.svg` what readers see; a test
compares the two. Colours differ in lightness too, so that no meaning hangs on colour alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from labrunner.errors import BadSource

# fill, edge: a palette that people with colour blindness can tell apart
TONES = {
    "person": ("#ffffff", "#1b2733"),
    "door": ("#dcecf9", "#1f6fb2"),
    "core": ("#fdf0d5", "#b36b00"),
    "work": ("#e2f3ea", "#1b7f4d"),
    "data": ("#efe6f7", "#6b3fa0"),
    "stop": ("#fbe3e1", "#b3261e"),
}
_INK, _FAINT = "#1b2733", "#51606d"
_FONT = "font-family='Helvetica,Arial,sans-serif'"


@dataclass(frozen=True)
class Box:
    """A rectangle with a name and, below it, a few words."""

    id: str
    x: float
    y: float
    w: float
    h: float
    text: str
    sub: str = ""
    tone: str = "work"

    def edge(self, other: Box) -> tuple[float, float]:
        """Return where a line to `other` leaves this box."""
        cx, cy = self.x + self.w / 2, self.y + self.h / 2
        dx, dy = other.x + other.w / 2 - cx, other.y + other.h / 2 - cy
        overlap_x = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        overlap_y = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        if overlap_y > 0 >= overlap_x:  # side by side: a level line
            middle = max(self.y, other.y) + overlap_y / 2
            return (self.x + self.w if dx > 0 else self.x), middle
        if overlap_x > 0 >= overlap_y:  # one above the other: a plumb line
            middle = max(self.x, other.x) + overlap_x / 2
            return middle, (self.y + self.h if dy > 0 else self.y)
        scale = min(
            self.w / 2 / abs(dx) if dx else float("inf"),
            self.h / 2 / abs(dy) if dy else float("inf"),
        )
        return cx + dx * scale, cy + dy * scale


def draw(source: Path) -> str:
    """Return the SVG of a picture's source."""
    try:
        plan = tomllib.loads(source.read_text("utf-8"))
        boxes = {entry["id"]: Box(**entry) for entry in plan["box"]}
        parts = [_frame(entry) for entry in plan.get("frame", [])]
        parts += [_arrow(entry, boxes) for entry in plan.get("arrow", [])]
        parts += [_box(box) for box in boxes.values()]
        width, height = plan["width"], plan["height"]
        title, message = escape(plan["title"]), escape(plan["message"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadSource(
            f"Expected a picture in {source}: {type(error).__name__} {error}."
        ) from error
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}' role='img' aria-labelledby='t m'>\n"
        f"<title id='t'>{title}</title>\n<desc id='m'>{message}</desc>\n"
        "<defs><marker id='a' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' "
        f"markerHeight='7' orient='auto-start-reverse'><path d='M0 0L10 5L0 10z' fill='{_INK}'/>"
        f"</marker></defs>\n<rect width='{width}' height='{height}' fill='#ffffff'/>\n"
        f"{body}\n</svg>\n"
    )


def draw_all(root: Path) -> list[Path]:
    """Draw every picture of a checkout; return the files that changed."""
    changed = []
    for source in sorted((root / "Pictures" / "_src").glob("*.toml")):
        target = root / "Pictures" / f"{source.stem}.svg"
        text = draw(source)
        if not target.exists() or target.read_text("utf-8") != text:
            target.write_text(text, "utf-8")
            changed.append(target)
    return changed


def _box(box: Box) -> str:
    fill, edge = TONES[box.tone]
    middle = box.x + box.w / 2
    lines = box.text.split("\n")
    small = [line for line in box.sub.split("\n") if line]
    y = box.y + box.h / 2 - (len(lines) * 19 + len(small) * 15) / 2 + 14
    parts = [
        f"<rect x='{box.x}' y='{box.y}' width='{box.w}' height='{box.h}' rx='8' "
        f"fill='{fill}' stroke='{edge}' stroke-width='1.6'/>"
    ]
    for line in lines:
        parts.append(_text(middle, y, line, 15, _INK, "600"))
        y += 19
    for line in small:
        parts.append(_text(middle, y - 2, line, 12, _FAINT))
        y += 15
    return "\n".join(parts)


def _frame(entry: dict[str, Any]) -> str:
    return (
        f"<rect x='{entry['x']}' y='{entry['y']}' width='{entry['w']}' height='{entry['h']}' "
        f"rx='12' fill='none' stroke='{_FAINT}' stroke-dasharray='5 4'/>\n"
        + _text(entry["x"] + 12, entry["y"] + 20, entry["text"], 13, _FAINT, "600", "start")
    )


def _arrow(entry: dict[str, Any], boxes: dict[str, Box]) -> str:
    one, other = boxes[entry["from"]], boxes[entry["to"]]
    (x1, y1), (x2, y2) = one.edge(other), other.edge(one)
    x1, y1, x2, y2 = (round(value, 1) for value in (x1, y1, x2, y2))
    both = " marker-start='url(#a)'" if entry.get("both") else ""
    dash = " stroke-dasharray='6 4'" if entry.get("dashed") else ""
    line = (
        f"<path d='M{x1} {y1}L{x2} {y2}' stroke='{_INK}' stroke-width='1.6' fill='none' "
        f"marker-end='url(#a)'{both}{dash}/>"
    )
    if not entry.get("text"):
        return line
    x, y = (x1 + x2) / 2 + entry.get("dx", 0), (y1 + y2) / 2 - 7 + entry.get("dy", 0)
    return line + "\n" + _text(round(x, 1), round(y, 1), entry["text"], 12, _INK)


def _text(
    x: float, y: float, text: str, size: int, ink: str, weight: str = "400", anchor: str = "middle"
) -> str:
    return (
        f"<text x='{x}' y='{y}' {_FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{ink}' text-anchor='{anchor}'>{escape(text)}</text>"
    )
