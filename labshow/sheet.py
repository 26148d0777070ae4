"""A page of one file that a program writes: facts, tables, bars, a graph in layers.

    page = Sheet("Loans of March", "What the model decided, and what became of it.")
    page.table("Outcomes", ["outcome", "loans"], [["accepted", 812]])
    page.bars("Refused loans by purpose", [("medical", 12.0)], unit="loans")
    Path("report.html").write_text(page.html())

Nothing is loaded from anywhere, and nothing runs: no script, no font, no picture. Each drawing has
a title, and a table with the same content for those who do not see it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labshow import number

__all__ = ["Box", "Sheet"]

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1d2430;--dim:#4a5565;--line:#8a94a3;
--soft:#eef2f6;--bar:#0b4f9c;--good:#0b6b3a;--bad:#a4161a}
@media(prefers-color-scheme:dark){:root{--back:#14181e;--text:#e8ecf1;--dim:#aab4c0;
--line:#6b7686;--soft:#1e252e;--bar:#8cc0ff;--good:#5fd08f;--bad:#ff8f8f}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;background:var(--back);color:var(--text);max-width:70rem;
margin:0 auto;padding:1rem;overflow-wrap:break-word}
.dim,caption{color:var(--dim)}h2{margin-top:2rem}
.wide{overflow-x:auto}.wide+.wide{margin-top:1.5rem}table{border-collapse:collapse;min-width:20rem}caption{text-align:left}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);
vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}svg text{fill:var(--text);font:14px system-ui,sans-serif}
svg .dim{fill:var(--dim)}svg .bar{fill:var(--bar)}
svg rect.box{fill:var(--soft);stroke:var(--line)}svg path{fill:none;stroke:var(--line);
stroke-width:1.5}svg .head{fill:var(--line);stroke:none}
summary{cursor:pointer}
"""
ROW, NAME, WIDTH = 28, 190, 760  # of a drawing of bars
BOX, GAP, HIGH, LEAD = 190, 44, 58, 34  # of a graph
LETTERS = 20  # that fit into a box


@dataclass(frozen=True)
class Box:
    """A thing of a graph: the layer it is drawn in, its name, and a line about it."""

    layer: str
    name: str
    note: str = ""


class Sheet:
    """A page; what is added first stands on top."""

    def __init__(self, title: str, sentence: str = "") -> None:
        self.title, self.parts = title, [f"<p>{_text(sentence)}</p>"] if sentence else []
        self.drawings = 0

    def heading(self, title: str, sentence: str = "") -> None:
        """Begin a section."""
        self.parts.append(f"<h2>{_text(title)}</h2>")
        if sentence:
            self.parts.append(f"<p>{_text(sentence)}</p>")

    def table(self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; numbers stand right, the first column names its row."""
        self.parts.append(_table(caption, columns, rows))

    def facts(self, caption: str, facts: Mapping[str, object]) -> None:
        """Add a table of names and values."""
        rows = [[name, _fact(value)] for name, value in facts.items()]
        self.table(caption, ["fact", "value"], rows)

    def bars(self, title: str, values: Sequence[tuple[str, float]], *, unit: str = "") -> None:
        """Draw lying bars, the first one on top."""
        most = max((abs(value) for _, value in values), default=0.0) or 1.0
        lines, numbers = [], number.labels([value for _, value in values])
        for at, (name, value) in enumerate(values):
            long = (WIDTH - NAME - 110) * abs(value) / most
            top = at * ROW
            base, told = top + 19, numbers[at]
            lines.append(
                f'<text x="{NAME - 8}" y="{base}" text-anchor="end">{_text(_cut(name, 26))}</text>'
                f'<rect class="bar" x="{NAME}" y="{top + 5}" width="{long:.1f}" height="18"/>'
                f'<text x="{NAME + long + 6:.1f}" y="{base}">{_text(told)}</text>'
            )
        rows = [[name, value] for name, value in values]
        told = f"{len(values)} bars"
        table = _table(title, ["name", unit or "value"], rows)
        name = title if not unit or unit in title else f"{title}, in {unit}"
        self._draw(name, told, WIDTH, len(values) * ROW + 6, "".join(lines), table)

    def graph(
        self,
        title: str,
        layers: Sequence[str],
        boxes: Mapping[str, Box],
        arrows: Sequence[tuple[str, str, str]],
    ) -> None:
        """Draw things in layers from left to right, and arrows (from, to, why) between them."""
        place: dict[str, tuple[int, int]] = {}
        filled = dict.fromkeys(layers, 0)
        for key, box in boxes.items():
            place[key] = (
                layers.index(box.layer) * (BOX + GAP) + 1,
                LEAD + filled[box.layer] * (HIGH + 22),
            )
            filled[box.layer] += 1
        wide = len(layers) * (BOX + GAP) - GAP + 2
        high = LEAD + max([1, *filled.values()]) * (HIGH + 22)
        drawn = [
            f'<text class="dim" x="{at * (BOX + GAP) + 1}" y="18">{_text(layer)}</text>'
            for at, layer in enumerate(layers)
        ]
        for begin, end, _ in arrows:
            (x1, y1), (x2, y2) = place[begin], place[end]
            if x1 == x2:
                down = y1 < y2
                y1, y2 = (y1 + HIGH, y2 - 7) if down else (y1, y2 + HIGH + 7)
                x1, x2 = x1 + BOX // 2, x2 + BOX // 2
                drawn.append(_arrow(f"M{x1} {y1}L{x2} {y2}", x2, y2, "down" if down else "up"))
                continue
            y1, y2, x1, x2 = y1 + HIGH // 2, y2 + HIGH // 2, x1 + BOX, x2 - 7
            middle = (x1 + x2) // 2
            drawn.append(
                _arrow(f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}", x2, y2, "right")
            )
        for key, box in boxes.items():
            x, y = place[key]
            note = _text(_cut(box.note, LETTERS))
            drawn.append(
                f'<rect class="box" x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="6"/>'
                f'<text x="{x + 10}" y="{y + 24}">{_text(_cut(box.name, LETTERS))}</text>'
                f'<text class="dim" x="{x + 10}" y="{y + 45}">{note}</text>'
            )
        rows = [
            [f"{boxes[a].layer}: {boxes[a].name}", f"{boxes[b].layer}: {boxes[b].name}", why]
            for a, b, why in arrows
        ]
        told = f"{len(boxes)} things in {len(layers)} layers, {len(arrows)} arrows"
        table = _table("Each arrow, and what it was read from", ["from", "to", "read from"], rows)
        self._draw(title, told, wide, high, "".join(drawn), table)

    def html(self) -> str:
        """Return the whole page."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{_text(self.title)}</title>"
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{STYLE}</style></head><body><main><h1>{_text(self.title)}</h1>\n"
            + "\n".join(self.parts)
            + "\n</main></body></html>\n"
        )

    def _draw(self, title: str, told: str, wide: int, high: int, drawn: str, table: str) -> None:
        self.drawings += 1
        name = f"drawing-{self.drawings}"
        self.parts.append(
            f'<figure><figcaption>{_text(title)}</figcaption><div class="wide" role="region" '
            f'tabindex="0" aria-label="{_text(title)}"><svg role="img" aria-labelledby="{name}" '
            f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}">'
            f'<title id="{name}">{_text(title)}: {_text(told)}</title>{drawn}</svg></div>'
            f"<details><summary>The same as a table</summary>{table}</details></figure>"
        )


def _arrow(path: str, x: int, y: int, way: str) -> str:
    tips = {
        "right": f"M{x} {y - 5}L{x + 7} {y}L{x} {y + 5}Z",
        "down": f"M{x - 5} {y}L{x} {y + 7}L{x + 5} {y}Z",
        "up": f"M{x - 5} {y}L{x} {y - 7}L{x + 5} {y}Z",
    }
    return f'<path d="{path}"/><path class="head" d="{tips[way]}"/>'


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>' + "".join(map(_cell, row[1:])) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{_text(caption)}"><table>'
        f"<caption>{_text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="n">{_text(number.write(value))}</td>'
    return f"<td>{_text(value)}</td>"


def _fact(value: object) -> str:
    """Write a value that stands alone: nothing below it to be compared with.

    >>> _fact(12000), _fact(["term", "purpose"])
    ('12,000', 'term, purpose')
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number.write(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cut(text: str, most: int) -> str:
    """Return a text that fits.

    >>> _cut("debt_consolidation", 8)
    'debt_co…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: object) -> str:
    return html.escape(str(value))
