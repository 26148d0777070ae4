"""Load a model and ask it for predictions: skops, ONNX, XGBoost's own, pickles, and pyfunc.

Runs in the worker process of one model, never in the server. A model is asked with a matrix of
numbers, or with a table when it has columns of text.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labapps.deployment import foreign

__all__ = ["PICKLE_NOTE", "LoadError", "Model", "load"]

PICKLE_NOTE = (
    "a pickle runs code when it is loaded; loaded because it lies in the tenant's own "
    "repository. Prefer skops, ONNX or XGBoost's JSON"
)
Rows = Sequence[Any]


class LoadError(ValueError):
    """A model file could not be loaded; the text says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A loaded model: `predict` takes a float64 matrix, or a data frame if `wants_frame`."""

    predict: Callable[[Any], Any]
    features: tuple[str, ...] = ()
    width: int | None = None
    wants_frame: bool = False
    takes_missing: bool = True
    note: str = ""


def load(
    path: str,
    kind: str,
    features: Sequence[str] = (),
    *,
    trusted: Sequence[str] = (),
    booster: str = "",
    columns: Sequence[str] = (),
    environment: str = "",
) -> Model:
    """Load the file; the given feature names win over those the file knows.

    `trusted` names types of a skops file beyond scikit-learn's and XGBoost's, `booster` the class
    of XGBoost that reads the file, `columns` the features of a file that names none,
    `environment` the one that a pyfunc model runs in.
    """
    loaders: dict[str, Callable[[str], Model]] = {
        "skops": lambda path: _skops(path, trusted),
        "onnx": _onnx,
        "xgboost": lambda path: _xgboost(path, booster),
        "pickle": _pickle,
        "pyfunc": lambda path: _pyfunc(path, environment),
    }
    try:
        model = loaders[kind](path)
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(
            f"{path.rpartition('/')[2]} cannot be loaded as {kind}: {type(error).__name__}: {error}"
        ) from error
    if features and model.width not in (None, len(features)):
        raise LoadError(
            f"The ConfigMap names {len(features)} features; the model takes {model.width}."
        )
    names = features or model.features
    if not names and model.width in (None, len(columns)):
        names = columns
    if not names:
        return model
    return replace(model, features=tuple(names), width=len(names))


def _skops(path: str, trusted: Sequence[str] = ()) -> Model:
    io = importlib.import_module("skops.io")
    named = io.get_untrusted_types(file=path)
    foreign = [name for name in named if not _is_known(name) and name not in trusted]
    if foreign:
        raise LoadError(
            "The skops file holds types of neither scikit-learn nor XGBoost: "
            f"{', '.join(sorted(foreign))}. Save the model without them, use ONNX, or name those "
            "you trust in the ConfigMap's key trusted-types."
        )
    return _estimator(io.load(path, trusted=named))


def _is_known(name: str) -> bool:
    """Tell whether a name is a class of a library we know (classes do not run code on load)."""
    package, _, rest = name.partition(".")
    if package not in ("sklearn", "xgboost") or not rest:
        return False
    module, _, attribute = name.rpartition(".")
    try:
        return isinstance(getattr(importlib.import_module(module), attribute, None), type)
    except ImportError:
        return False


def _pickle(path: str) -> Model:
    note = PICKLE_NOTE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open(path, "rb") as file:
                found = pickle.load(file)
        except (pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError):
            found = importlib.import_module("joblib").load(path)
    if hasattr(found, "inplace_predict"):
        return _booster(found, note)
    if not hasattr(found, "predict"):
        raise LoadError(f"The pickle holds a {type(found).__name__} without a method predict.")
    return _estimator(found, note)


def _pyfunc(path: str, environment: str) -> Model:
    """Load the model whose MLmodel this is in a process of another environment."""
    try:
        found = foreign.Foreign(foreign.interpreter(environment), os.path.dirname(path))
    except foreign.ForeignError as error:
        raise LoadError(
            f"The model cannot be loaded in an environment of its own: {error}"
        ) from error
    return Model(found.predict, found.features, found.width, wants_frame=bool(found.features))


def _xgboost(path: str, kind: str = "") -> Model:
    xgboost = importlib.import_module("xgboost")
    if kind:  # a classifier answers classes, where its booster answers probabilities
        estimator = getattr(xgboost, kind)()
        estimator.load_model(path)
        return _estimator(estimator)
    booster = xgboost.Booster()
    booster.load_model(path)
    return _booster(booster)


def _booster(booster: Any, note: str = "") -> Model:
    booster.set_param({"nthread": 1})
    names = tuple(booster.feature_names or ())
    return Model(booster.inplace_predict, names, booster.num_features(), note=note)


def _estimator(found: Any, note: str = "") -> Model:
    names = tuple(str(n) for n in getattr(found, "feature_names_in_", ()))
    width = getattr(found, "n_features_in_", None)
    # A fitted name list makes each matrix a warning; the order was checked by us.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    if hasattr(found, "get_booster"):
        booster = found.get_booster()
        names = names or tuple(booster.feature_names or ())
        found.set_params(n_jobs=1)
    elif hasattr(found, "n_jobs"):
        found.n_jobs = 1
    return Model(
        found.predict,
        names,
        int(width) if width is not None else (len(names) or None),
        wants_frame=bool(names) and _has_columns(found),
        note=note,
    )


def _has_columns(found: Any) -> bool:
    """Tell whether an estimator picks columns by name."""
    steps = [s for _, s in getattr(found, "steps", ())] or [found]
    return any(type(s).__name__ == "ColumnTransformer" for s in steps)


def _onnx(path: str) -> Model:
    runtime = importlib.import_module("onnxruntime")
    numpy = importlib.import_module("numpy")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    output = session.get_outputs()[0].name
    types = {"tensor(float)": numpy.float32, "tensor(double)": numpy.float64}
    unknown = [i.type for i in inputs if i.type not in types]
    if unknown:
        raise LoadError(f"The ONNX model takes {unknown[0]}; expected float or double tensors.")
    meta = session.get_modelmeta().custom_metadata_map
    if len(inputs) > 1:
        names = tuple(i.name for i in inputs)

        def predict_columns(matrix: Any) -> Any:
            columns = {i.name: matrix[:, [n]].astype(types[i.type]) for n, i in enumerate(inputs)}
            return session.run([output], columns)[0]

        return Model(predict_columns, names, len(names), takes_missing=False)
    name, kind = inputs[0].name, types[inputs[0].type]
    width = inputs[0].shape[1] if len(inputs[0].shape) > 1 else None

    def predict(matrix: Any) -> Any:
        found = session.run([output], {name: matrix.astype(kind)})[0]
        return found[:, 0] if getattr(found, "ndim", 1) == 2 and found.shape[1] == 1 else found

    names = tuple(json.loads(meta["feature_names"])) if "feature_names" in meta else ()
    return Model(predict, names, width if isinstance(width, int) else None, takes_missing=False)
