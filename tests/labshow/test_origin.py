"""A name that is missing since the kernel started is told with the cell that makes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat.v4 as v4
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from traitlets.config import Config

from labhelpers import progress
from labpanel.lifeline import TELLS_NAMES
from labshow import origin

pytestmark = pytest.mark.fast

CHECK = "check('It is now', lambda: current() > 0, hint='Look.')"
CELLS = [
    v4.new_markdown_cell("## Setup"),
    v4.new_code_cell("from labhelpers import begin, check\n\nbegin('core/test')"),
    v4.new_markdown_cell("## 3. Fetch it"),
    v4.new_code_cell("current = lambda: 1\n%time"),
    v4.new_code_cell(CHECK),
    v4.new_code_cell("total = total + 1"),
]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "labs" / "lab.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps(v4.new_notebook(cells=CELLS)), "utf-8")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return path


@pytest.fixture
def shell(notebook: Path) -> Iterator[Any]:
    config = Config(
        {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}
    )
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()
    origin.belongs_to("")


def said(shell: Any, code: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert not shell.run_cell(code).success
    return str(capsys.readouterr().out)


def test_name_in_a_checkpoint_is_told_and_costs_no_progress(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("from labhelpers import begin, check; begin('core/test')")
    shell.run_cell(f"current = lambda: 1\n{CHECK}")
    before = progress.load()
    assert before["core/test"]["It is now"]["passed"]
    shell.run_cell("del current")
    capsys.readouterr()
    told = said(shell, CHECK, capsys)
    assert "`current` is made by the cell that begins `current = lambda: 1` (step 3)" in told
    assert "not yet" not in told
    assert progress.load() == before


def test_notebook_is_found_by_its_lab_where_jupyter_names_none(
    shell: Any,
    notebook: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME")
    notebook.write_text(
        notebook.read_text().replace("begin('core/test')", 'begin(\\"core/test\\")')
    )
    monkeypatch.chdir(notebook.parent)
    shell.run_cell("from labhelpers import begin; begin('core/test')")
    assert "(step 3)" in said(shell, "current()", capsys)


@pytest.mark.parametrize("code", ["nobody_makes_this", "total = total + 1", "1 / 0"])
def test_other_errors_keep_their_stack(
    shell: Any, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    shell.run_cell("from labhelpers import begin, check; begin('core/test')")
    told = said(shell, code, capsys)
    assert "Traceback" in told
    assert "is made by" not in told


def test_kernel_of_the_labs_tells_it_before_anything_has_run(notebook: Path) -> None:
    manager, client = start_new_kernel(
        kernel_name="python3", extra_arguments=[TELLS_NAMES], cwd=str(notebook.parent)
    )
    try:
        errors: list[str] = []

        def take(message: dict[str, Any]) -> None:
            if message["msg_type"] == "error":
                errors.extend(message["content"]["traceback"])

        client.execute_interactive(CHECK, output_hook=take, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    told = " ".join(errors)
    assert "`check` is made by the cell that begins `from labhelpers import begin, check`" in told
    assert "(Setup)" in told
