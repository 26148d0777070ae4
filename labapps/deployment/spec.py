"""What a connected model ConfigMap asks for."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labapps.deployment import digest
from labapps.forks import source
from labapps.member.place import PathError, Place

__all__ = ["NEEDS", "ModelSpec", "SpecError", "names", "read_spec"]

PICKLES = (".pkl", ".pickle", ".dat", ".joblib", ".sav")
FORMATS = {".skops": "skops", ".onnx": "onnx", ".json": "xgboost", ".ubj": "xgboost"}
FORMATS |= dict.fromkeys(PICKLES, "pickle")
NEEDS = {
    "skops": ["skops.io", "sklearn.ensemble"],
    "onnx": ["numpy", "onnxruntime"],
    "xgboost": ["numpy", "xgboost"],
    "pickle": ["sklearn.ensemble", "pickle", "joblib"],
    "pyfunc": ["numpy", "pandas"],
}


class SpecError(ValueError):
    """A model cannot be served as its ConfigMap describes it."""


@dataclass(frozen=True)
class ModelSpec:
    """A model to serve. Two equal specs need no reload."""

    configmap: str
    name: str
    version: str
    description: str
    path: str
    scoring: str
    format: str
    contract: str  # "script" (argv[1] in, print out), "functions" (load, predict) or "native"
    features: tuple[str, ...]
    needs: tuple[str, ...]
    stamp: tuple[int, ...]
    uri: str = ""  # of MLflow's registry, and what it meant: version and digest of the files
    registered: str = ""
    digest: str = ""
    trusted: tuple[str, ...] = ()
    booster: str = ""
    columns: tuple[str, ...] = ()
    environment: str = ""  # of a pyfunc model
    digests: tuple[tuple[str, str], ...] = ()  # files, and what they must be

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.version

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"

    def options(self) -> dict[str, Any]:
        """Return what `formats.load` is told beside path, format and features."""
        found: dict[str, Any] = {"trusted": self.trusted, "booster": self.booster}
        found |= {"columns": self.columns, "environment": self.environment}
        return {key: value for key, value in found.items() if value}


def read_spec(configmap: dict[str, Any], place: Place) -> ModelSpec:
    """Turn a connected ConfigMap into a spec; SpecError says what is wrong with it."""
    title = str((configmap.get("metadata") or {}).get("name") or "?")
    data = {k: str(v).strip() for k, v in (configmap.get("data") or {}).items()}
    name, version = data.get("name", ""), data.get("model-version", "")
    missing = [k for k in ("name", "model-version", "path") if not data.get(k)]
    if missing:
        raise SpecError(
            f"ConfigMap {title}: expected the keys name, model-version and path, or model-uri "
            f"(models:/wine@champion); found no {', '.join(missing)}."
        )
    if "/" in name + version:
        raise SpecError(f"ConfigMap {title}: name and model-version become a URL: no '/' in them.")
    model = _file(title, "path", data["path"], place)
    kind = FORMATS.get(model.suffix.lower())
    scoring: Path | None = None
    contract, needs = "native", list(NEEDS.get(kind or "", []))
    if data.get("scoring-path"):
        scoring = _file(title, "scoring-path", data["scoring-path"], place)
        contract, more = _contract(title, scoring)
        needs += [m for m in more if m not in needs]
    if kind is None and contract == "native":
        raise SpecError(
            f"ConfigMap {title}: expected a model that ends in {', '.join(FORMATS)} or a "
            f"scoring-path; found path {data['path']!r} alone."
        )
    stamps = [os.stat(f) for f in (model, scoring) if f is not None]
    return ModelSpec(
        configmap=title,
        name=name,
        version=version,
        description=data.get("description", ""),
        path=str(model),
        scoring=str(scoring or ""),
        format=kind or "other",
        contract=contract,
        features=names(title, "features", data.get("features", "")),
        needs=tuple(needs),
        trusted=names(title, "trusted-types", data.get("trusted-types", "")),
        stamp=tuple(n for s in stamps for n in (s.st_mtime_ns, s.st_size, s.st_ino)),
        digests=_digests(data, {"path": model, "scoring-path": scoring}),
    )


def _digests(data: dict[str, str], files: dict[str, Path | None]) -> tuple[tuple[str, str], ...]:
    """Return the files that the ConfigMap names a digest for, each with it."""
    named = ((str(file), data.get(digest.KEYS[key], "")) for key, file in files.items() if file)
    return tuple((file, wanted) for file, wanted in named if wanted)


def _file(title: str, key: str, path: str, place: Place) -> Path:
    try:
        found = place.resolve(path)
    except PathError as error:
        raise SpecError(f"ConfigMap {title}, key {key}: {error}") from error
    if not found.is_file():
        beside = sorted(p.name for p in found.parent.glob("*") if p.is_file())[:10]
        raise SpecError(
            f"ConfigMap {title}, key {key}: expected a file at {path}; found none. In that folder: "
            f"{', '.join(beside) or 'no file'}."
        )
    return found


def _contract(title: str, script: Path) -> tuple[str, list[str]]:
    try:
        text = script.read_bytes()
        names = source.functions(text, script.name)
        return (
            "functions" if {"load", "predict"} <= names else "script",
            [m for m in source.imports(text, script.name) if source.importable(m)],
        )
    except (SyntaxError, ValueError) as error:
        raise SpecError(
            f"ConfigMap {title}: the scoring script {script.name} is not Python: {error}"
        ) from error


def names(title: str, key: str, text: str) -> tuple[str, ...]:
    """Read an optional key of names: a JSON list, or names with commas between them."""
    if not text.startswith("["):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return tuple(str(name) for name in json.loads(text))
    except ValueError as error:
        raise SpecError(f"ConfigMap {title}: key {key} is not a JSON list: {error}") from error
