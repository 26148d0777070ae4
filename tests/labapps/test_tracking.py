"""What the deployment engine reads of a registry: addresses, flavours and digests."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labapps.deployment.flavor import Flavor, FlavorError, choose
from labapps.deployment.registered import Uri, address
from labapps.deployment.spec import SpecError
from labapps.deployment.tracking import Tracking, TrackingError
from labapps.member.digest import NotPlain, folder_digest


@pytest.mark.fast
@pytest.mark.parametrize(
    "text",
    [
        "",
        "wine",
        "models:/wine",
        "models:/wine/latest",
        "models:/wine/0",
        "models:/a/b@c",
        "runs:/1/model",
        "models:/wine@a/b",
        "models:/m-0123",
        "models:/@champion",
        "models:/wine@",
    ],
)
def test_uri_that_names_no_version_or_alias_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="model-uri"):
        Uri.parse(text)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"model-uri": "models:/wine@champion"}, ("wine", "champion")),
        ({"model-uri": "models:/wine/3"}, ("wine", "3")),
        ({"model-uri": "models:/wine/3", "name": "red", "model-version": "new"}, ("red", "new")),
    ],
)
def test_address_is_made_of_the_uri_unless_it_is_given(
    data: dict[str, str], expected: tuple[str, str]
) -> None:
    assert address({"data": data}) == expected


SIGNATURE = """
signature:
  inputs: '[{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]'
"""
TENSOR = """
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'
"""


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "flavors: {sklearn: {pickled_model: m.skops, serialization_format: skops}}" + SIGNATURE,
            Flavor("skops", "m.skops", "", ("a", "b")),
        ),
        (
            "flavors: {xgboost: {data: m.ubj, model_class: xgboost.sklearn.XGBClassifier}}",
            Flavor("xgboost", "m.ubj", "XGBClassifier"),
        ),
        (
            "flavors: {xgboost: {data: m.json, model_class: xgboost.core.Booster}}" + TENSOR,
            Flavor("xgboost", "m.json"),
        ),
        ("flavors: {onnx: {data: x/m.onnx}, sklearn: {}}", Flavor("onnx", "x/m.onnx")),
    ],
)
def test_flavour_that_runs_no_code_is_chosen(text: str, expected: Flavor) -> None:
    assert choose(text.encode()) == expected


@pytest.mark.fast
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavors: {sklearn: {pickled_model: m.pkl, serialization_format: pickle}}", "a pickle"),
        ("flavors: {sklearn: {pickled_model: m.pkl}}", "a pickle"),
        ("flavors: {python_function: {loader_module: mlflow.pyfunc.model}}", "mlflow.pyfunc.model"),
        ("flavors: {pytorch: {}, python_function: {}}", "found pytorch"),
        ("flavors: {xgboost: {data: m.deprecated}}", "UBJ"),
        ("flavors: {xgboost: {data: m.ubj, model_class: os.system}}", "names os.system"),
        ("flavors: {onnx: {data: ../m.onnx}}", "beside MLmodel"),
        ("flavors: {onnx: {data: /etc/passwd}}", "beside MLmodel"),
        ("flavors: {onnx: {}}", "beside MLmodel"),
        ("- no", "not MLflow's"),
        ("!!python/object/apply:os.system [true]", "not MLflow's"),
        ("", "not MLflow's"),
    ],
)
def test_flavour_that_runs_code_or_leads_away_is_refused(text: str, words: str) -> None:
    with pytest.raises(FlavorError, match=words):
        choose(text.encode())


@pytest.mark.fast
def test_digest_is_the_one_of_the_shell(tmp_path: Path) -> None:
    for name in ("MLmodel", "b/two words.txt", "a", "b/a", "registered_model_meta"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = (
        "find * -type f ! -name registered_model_meta | "
        "LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    )
    shell = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert folder_digest(tmp_path) == shell.stdout.split()[0]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPlain, match="pipe"):
        folder_digest(tmp_path)


@pytest.mark.fast
def test_server_without_a_history_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = Tracking({"MLFLOW_TRACKING_URI": "http://mlflow.example"})
    pauses: list[float] = []

    async def get(path: str, **query: str) -> dict[str, Any]:
        asked.append(path)
        raise TrackingError("404", lasting=True)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    asked: list[str] = []
    monkeypatch.setattr(tracking, "_get", get)
    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def twice() -> None:
        await tracking.news()
        await tracking.news()

    asyncio.run(twice())
    assert (asked, pauses) == (["/labs/moves"], [1.0, 1.0])
