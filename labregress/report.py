"""The report of a run, as HTML, JUnit and JSON; and what is new in it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from labregress.errors import BadMatrix
from labregress.matrix import Cure
from labregress.runner import Row

__all__ = ["Comparison", "compare", "cure_of", "page", "read", "write"]

COLOURS = {"passed": "#d9efdd", "failed": "#f6d5d2", "skipped": "#eeeeee"}
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """What differs from the accepted report: new failures, mended ones, rows that are gone."""

    new: tuple[Key, ...]
    mended: tuple[Key, ...]
    known: tuple[Key, ...]
    gone: tuple[Key, ...]

    @property
    def is_good(self) -> bool:
        """Tell whether nothing fails that did not fail before."""
        return not self.new


def key(row: Row) -> Key:
    """Return what names a row."""
    return row["version"], row["case"], row["protocol"]


def compare(rows: Sequence[Row], accepted: Sequence[Row]) -> Comparison:
    """Compare a run with the accepted one; a failure of a row that it has not is a new one.

    >>> row = {"version": "2.0.1", "case": "sklearn", "protocol": "portable", "status": "failed"}
    >>> compare([row], [row | {"status": "passed"}]).new
    (('2.0.1', 'sklearn', 'portable'),)
    >>> compare([row], [row]).is_good
    True
    """
    before = {key(row): row["status"] for row in accepted}
    now = {key(row): row["status"] for row in rows}
    failed = [one for one, status in now.items() if status == "failed"]
    return Comparison(
        new=tuple(one for one in failed if before.get(one) != "failed"),
        mended=tuple(one for one, status in now.items()
                     if status == "passed" and before.get(one) == "failed"),
        known=tuple(one for one in failed if before.get(one) == "failed"),
        gone=tuple(one for one in before if one not in now),
    )  # fmt: skip


def cure_of(error: str, cures: Sequence[Cure]) -> str:
    """Return what is known to help with an error; nothing when nothing is."""
    return next((one.cure for one in cures if one.match.lower() in error.lower()), "")


def read(file: Path) -> list[Row]:
    """Return the rows of a report."""
    try:
        return list(json.loads(file.read_text("utf-8"))["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadMatrix(
            f"Expected a report.json of `labregress run` at {file}, found: {error!r}."
        ) from error


def write(
    rows: Sequence[Row], out: Path, cures: Sequence[Cure], accepted: Sequence[Row] = ()
) -> Comparison:
    """Write the three forms of the report; return the comparison with the accepted one."""
    found = compare(rows, accepted)
    told = [row | {"cure": cure_of(row["error"], cures)} for row in rows]
    (out / "report.json").write_text(json.dumps({"rows": told}, indent=1) + "\n")
    (out / "junit.xml").write_bytes(junit(told))
    (out / "report.html").write_text(page(told, found))
    return found


def junit(rows: Sequence[Row]) -> bytes:
    """Return the report as Jenkins and GitHub read it: a suite for each version."""
    root = ElementTree.Element("testsuites", name="labregress")
    for version in dict.fromkeys(row["version"] for row in rows):
        own = [row for row in rows if row["version"] == version]
        counts: dict[str, str] = {
            "failures": str(sum(row["status"] == "failed" for row in own)),
            "skipped": str(sum(row["status"] == "skipped" for row in own)),
        }
        named = {"name": f"mlflow {version}", "tests": str(len(own))}
        suite = ElementTree.SubElement(root, "testsuite", named | counts)
        for row in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"mlflow-{version}.{row['case']}",
                name=row["protocol"], time=str(sum(row.get("seconds", {}).values())),
            )  # fmt: skip
            if row["status"] == "failed":
                sign = ElementTree.SubElement(case, "failure", message=row["error"])
                sign.text = f"step {row['step']}. {row.get('cure', '')}".strip()
            elif row["status"] == "skipped":
                ElementTree.SubElement(case, "skipped", message=row["error"])
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def page(rows: Sequence[Row], found: Comparison) -> str:
    """Return the report as a page: a row for each version and case, a column for each protocol."""
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    cells = {key(row): row for row in rows}
    lines = []
    for version, case in dict.fromkeys((row["version"], row["case"]) for row in rows):
        own = [cells.get((version, case, protocol)) for protocol in protocols]
        boxes = "".join(_box(row, row is not None and key(row) in found.new) for row in own)
        lines.append(f"<tr><th>{html.escape(version)}</th><th>{html.escape(case)}</th>{boxes}</tr>")
    counts = {one: sum(row["status"] == one for row in rows) for one in COLOURS}
    head = "".join(f"<th>{html.escape(protocol)}</th>" for protocol in protocols)
    summary = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Regression at each version</title>
<style>body{{font:15px/1.4 sans-serif;margin:2em;max-width:75em}}table{{border-collapse:collapse}}
th,td{{padding:.4em .8em;border:1px solid #bbb;text-align:left;vertical-align:top}}
td small{{display:block;max-width:24em}}.new{{outline:3px solid #a4241b}}</style>
<h1>Regression at each version</h1>
<p>{html.escape(summary)}. New failures: {len(found.new)}; known: {len(found.known)};
mended: {len(found.mended)}; no longer run: {len(found.gone)}.</p>
<table><thead><tr><th>MLflow</th><th>case</th>{head}</tr></thead>
<tbody>{"".join(lines)}</tbody></table>
<p>A cell passes when the scorer answers with the status that its release is known for, and with the
model's own numbers. A thick border marks a failure that the accepted report does not have.</p>
</html>
"""


def _box(row: Row | None, is_new: bool) -> str:
    if row is None:
        return "<td>–</td>"
    status = row["status"]
    mark = ' class="new"' if is_new else ""
    sign = {"passed": "✓", "failed": "✗ failed", "skipped": "– skipped"}[status]
    http = (
        f" {row['http']}" if "http" in row else f" at {row['step']}" if status == "failed" else ""
    )
    why = f"<small>{html.escape(row['error'])}</small>" if row["error"] else ""
    cure = f"<small><b>{html.escape(row['cure'])}</b></small>" if row.get("cure") else ""
    return f'<td{mark} style="background:{COLOURS[status]}">{sign}{http}{why}{cure}</td>'
