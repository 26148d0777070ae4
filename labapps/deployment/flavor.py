"""Which file of an MLflow model to load, and as what: read from its file MLmodel.

Loaded are ONNX, XGBoost's own files, and scikit-learn models that were saved with skops: none of
them runs code of the model. Any other model is refused, unless the ConfigMap names an environment:
then it is loaded as pyfunc, in a process of that environment and not in the engine's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

__all__ = ["Flavor", "FlavorError", "choose"]

SAFE = "onnx, xgboost, or sklearn with serialization_format skops"
BOOSTERS = frozenset(
    f"xgboost.sklearn.XGB{name}"
    for name in ("Classifier", "Ranker", "Regressor", "RFClassifier", "RFRegressor")
)
PICKLES = "cloudpickle", "pickle", "joblib"


class FlavorError(ValueError):
    """An MLflow model cannot be served; the text says why and what to do."""


@dataclass(frozen=True)
class Flavor:
    """A file of a model, its format, XGBoost's class for it, and the columns of the signature."""

    format: str
    file: str
    kind: str = ""
    columns: tuple[str, ...] = ()


def choose(text: bytes, environment: str = "") -> Flavor:
    """Return what to load of the model that this MLmodel describes, in this environment."""
    try:
        document = yaml.safe_load(text)
        flavors = dict(document["flavors"])
    except (yaml.YAMLError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise FlavorError(f"Its MLmodel is not MLflow's: {type(error).__name__}.") from error
    columns = _columns(document.get("signature"))
    if environment:
        if "python_function" not in flavors:
            found = ", ".join(sorted(map(str, flavors)))
            raise FlavorError(f"Expected the flavour python_function; found {found}.")
        return Flavor("pyfunc", "MLmodel", columns=columns)
    if isinstance(onnx := flavors.get("onnx"), dict):
        return Flavor("onnx", _file("onnx", onnx, "data"), columns=columns)
    if isinstance(xgboost := flavors.get("xgboost"), dict):
        return _xgboost(xgboost, columns)
    if isinstance(sklearn := flavors.get("sklearn"), dict):
        return _sklearn(sklearn, columns)
    found = ", ".join(sorted(str(name) for name in flavors if name != "python_function"))
    loader = (flavors.get("python_function") or {}).get("loader_module", "its own code")
    raise FlavorError(
        f"Expected the flavour {SAFE}; found "
        + (f"{found}. " if found else f"python_function alone, which runs {loader}. ")
        + "Log the model as ONNX, serve it with a scoring script, or name the environment that it "
        "needs in the ConfigMap's key environment."
    )


def _xgboost(flavor: dict[str, Any], columns: tuple[str, ...]) -> Flavor:
    file = _file("xgboost", flavor, "data")
    if PurePosixPath(file).suffix not in (".json", ".ubj"):
        raise FlavorError(f"Expected XGBoost's JSON or UBJ; found {file}. {_again('ubj')}")
    kind = str(flavor.get("model_class") or "xgboost.core.Booster")
    if kind == "xgboost.core.Booster":
        kind = ""
    elif kind not in BOOSTERS:
        raise FlavorError(f"Expected a class of XGBoost; its MLmodel names {kind}.")
    return Flavor("xgboost", file, kind.rpartition(".")[2], columns)


def _sklearn(flavor: dict[str, Any], columns: tuple[str, ...]) -> Flavor:
    file = _file("sklearn", flavor, "pickled_model")
    form = str(flavor.get("serialization_format") or "pickle")
    if form != "skops":
        raise FlavorError(
            f"{file} is saved with {form}: a pickle runs code of its author when it is loaded, so "
            f"models of a registry are not loaded from one. {_again('skops')}"
        )
    return Flavor("skops", file, columns=columns)


def _again(form: str) -> str:
    word = "serialization_format" if form == "skops" else "model_format"
    return f'Log the model again with {word}="{form}" and register that version.'


def _file(name: str, flavor: dict[str, Any], key: str) -> str:
    file = PurePosixPath(str(flavor.get(key) or ""))
    if not file.name or file.is_absolute() or ".." in file.parts:
        raise FlavorError(f"Expected a file beside MLmodel in {name}.{key}; found {file}.")
    return str(file)


def _columns(signature: Any) -> tuple[str, ...]:
    """Return the names of the signature's columns; none unless each column has one."""
    try:
        inputs = json.loads(signature["inputs"])
        names = [column["name"] for column in inputs]
    except (TypeError, KeyError, ValueError):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()
