"""Write what a replay leaves for readers: pages, report.html, report.json, junit.xml, take-away."""

from __future__ import annotations

import json
import os
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from labrunner import page, reproduction, secrets
from labrunner.curriculum import Curriculum
from labrunner.live import SIGNS
from labrunner.outcome import FAILED, PASSED, SKIPPED, Outcome
from labrunner.replay import Plan
from labrunner.steps import numbers_of

OUTSIDE_STEPS = "Before and after the steps"


def write(plan: Plan, outcomes: Sequence[Outcome], known: set[str], curriculum: Curriculum) -> None:
    """Write everything; a lab whose output holds a secret fails here and is not handed out."""
    files = {lab.id: plan.executed(lab) for lab in plan.labs}
    homes = {files[lab.id]: curriculum.notebook(lab).parent for lab in plan.labs}
    page.write_all({file: home for file, home in homes.items() if file.is_file()})
    titles = curriculum.titles()
    shown = []
    for found in outcomes:
        executed = files[found.lab]
        if executed.is_file():
            _refuse_secrets(found, executed, known)
        more = _again(plan, found, outcomes, curriculum) | {"workshop": titles.get(found.lab, "")}
        shown.append(_shown(plan, found, executed) | more)
    origin = reproduction.commit(curriculum.root)
    (plan.out / "report.html").write_text(_html(outcomes, shown, origin), "utf-8")
    text = json.dumps(_json(outcomes, shown, origin), indent=1)
    (plan.out / "report.json").write_text(text + "\n", "utf-8")
    ElementTree.ElementTree(_junit(outcomes)).write(
        plan.out / "junit.xml", encoding="utf-8", xml_declaration=True
    )


def take_away(plan: Plan, outcomes: Sequence[Outcome], path: Path) -> None:
    """Zip the executed notebooks and pages of the labs that hold no secret, and the report."""
    clean = {found.lab for found in outcomes if (found.error or {}).get("name") != "SecretInOutput"}
    files = [plan.out / "report.html"]
    for lab in plan.labs:
        if lab.id in clean:
            executed = plan.executed(lab)
            files += [executed, executed.with_suffix(".html")]
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            if file.is_file():
                archive.write(file, f"house-on-the-lake/{file.relative_to(plan.out)}")


def _refuse_secrets(found: Outcome, executed: Path, known: set[str]) -> None:
    notebook = page.read(executed)
    numbers = numbers_of(notebook)
    for cell in notebook.cells:
        said = secrets.search(json.dumps(cell.get("outputs", []), ensure_ascii=False), known)
        if said:
            found.error = None
            number = numbers.get(cell.id, "of the parameters")
            found.fail("SecretInOutput", f"cell {number} shows {', '.join(said)}; do not print it")
            executed.with_suffix(".html").unlink(missing_ok=True)
            return


def _shown(plan: Plan, found: Outcome, executed: Path) -> dict[str, Any]:
    """Return what the page says of one lab."""
    is_clean = executed.with_suffix(".html").is_file()
    link = os.path.relpath(executed, plan.out)
    return {
        **asdict(found),
        "anchor": found.lab.replace("/", "-"),
        "sign": SIGNS.get(found.status, ""),
        "checks": len(found.checkpoints),
        "checks_passed": sum(bool(check["ok"]) for check in found.checkpoints),
        "memory": f"{found.peak / 2**20:,.0f} MB" if found.peak else "",
        "parts": _parts(found),
        "picture": page.picture(page.read(executed)) if is_clean else None,
        "notebook": link if is_clean else "",
        "page": link.replace(".ipynb", ".html") if is_clean else "",
    }


def _again(
    plan: Plan, found: Outcome, outcomes: Sequence[Outcome], curriculum: Curriculum
) -> dict[str, Any]:
    """Return how to run a lab again as it was run, and where its failing cell is written."""
    lab = curriculum.get(found.lab)
    parameters = {one.lab: one.parameters for one in outcomes}
    error = found.error or {}
    number = error.get("source_cell")
    where = reproduction.place(curriculum, lab, number) if number else ""
    file = os.path.relpath(curriculum.source(lab), plan.out)
    return {
        "command": reproduction.command(curriculum, plan, lab, parameters),
        "source_place": where,
        "source_file": file if where else "",
        "cell_anchor": f"#cell-id={error['id']}" if error.get("id") else "",
    }


def _parts(found: Outcome) -> list[dict[str, Any]]:
    """Return the steps with their seconds, their share of the longest, and their checkpoints."""
    starts = [step["at"] for step in found.steps] + [found.seconds]
    parts = [
        {**step, "seconds": max(0.0, end - step["at"]), "checks": []}
        for step, end in zip(found.steps, starts[1:], strict=True)
    ]
    longest = max((part["seconds"] for part in parts), default=0) or 1
    by_number = {part["number"]: part for part in parts}
    outside = {"number": 0, "title": OUTSIDE_STEPS, "seconds": 0.0, "share": 0, "checks": []}
    for part in parts:
        part["share"] = round(100 * part["seconds"] / longest)
    for check in found.checkpoints:
        by_number.get(check.get("step", 0), outside)["checks"].append(check)
    return [*parts, outside] if outside["checks"] else parts


def _html(outcomes: Sequence[Outcome], shown: list[dict[str, Any]], origin: str) -> str:
    import jinja2

    template = jinja2.Environment(autoescape=True, trim_blocks=False).from_string(
        Path(__file__).with_name("report.html.j2").read_text("utf-8")
    )
    checks = [check for found in outcomes for check in found.checkpoints]
    return template.render(
        labs=shown,
        passed=sum(found.status == PASSED for found in outcomes),
        checks=len(checks),
        checks_passed=sum(bool(check["ok"]) for check in checks),
        seconds=sum(found.seconds for found in outcomes),
        duration=duration,
        about=about(),
        commit=origin,
    )


def duration(seconds: float) -> str:
    """Return seconds as people say them.

    >>> duration(3.21), duration(75)
    ('3.2 s', '1 min 15 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def about() -> str:
    """Return when and where a replay ran, in one line."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{now} · Python {platform.python_version()} · {platform.system()} "
        f"{platform.machine()} · {os.cpu_count()} cores · {memory:.0f} GB"
    )


def _json(outcomes: Sequence[Outcome], shown: list[dict[str, Any]], origin: str) -> dict[str, Any]:
    added = ("command", "source_place")
    return {
        "about": about(),
        "commit": origin,
        "passed": all(found.status == PASSED for found in outcomes),
        "labs": [
            {**asdict(found), "steps": _steps(found), **{name: one[name] for name in added}}
            for found, one in zip(outcomes, shown, strict=True)
        ],
    }


def _steps(found: Outcome) -> list[dict[str, Any]]:
    return [
        {"number": part["number"], "title": part["title"], "seconds": round(part["seconds"], 3)}
        for part in _parts(found)
        if part["number"]
    ]


def _junit(outcomes: Sequence[Outcome]) -> ElementTree.Element:
    """Return a JUnit suite: a case per lab, a case per checkpoint."""
    suite = ElementTree.Element("testsuite", name="replay")
    for found in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="labs", name=found.lab, time=f"{found.seconds:.3f}"
        )
        if found.status == FAILED and found.error:
            message = f"{found.error['name']}: {found.error['text']}"
            ElementTree.SubElement(case, "failure", message=message).text = found.error["source"]
        elif found.status == SKIPPED:
            ElementTree.SubElement(case, "skipped", message=found.reason)
        for check in found.checkpoints:
            one = ElementTree.SubElement(
                suite, "testcase", classname=f"checkpoints.{found.lab}", name=check["name"]
            )
            if not check["ok"] and found.status != PASSED:  # a lab may show a failure on purpose
                ElementTree.SubElement(one, "failure", message=str(check.get("hint", "")))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall("*/failure"))))
    suite.set("skipped", str(len(suite.findall("*/skipped"))))
    return suite
