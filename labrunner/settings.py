"""Parameters of a headless replay: from labs.toml, a file, `--set name=value` and `--rows`."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labrunner import notebook, source
from labrunner.curriculum import Curriculum, Lab
from labrunner.errors import LabError, UnknownParameter

Values = dict[str, dict[str, Any]]
TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
}


def parse(text: str) -> tuple[str, Any]:
    """Split `name=value`; the value is a literal where it reads as one.

    >>> parse("rows=1_000"), parse("city=New York")
    (('rows', 1000), ('city', 'New York'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UnknownParameter(f"Expected name=value after --set, found {text!r}.")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()


def read_file(path: Path) -> dict[str, Any]:
    """Read parameters from a TOML, YAML or JSON file."""
    import yaml

    read = {".toml": tomllib.loads, ".json": json.loads}.get(path.suffix, yaml.safe_load)
    try:
        found = read(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LabError(f"Expected parameters in {path}: {error}.") from error
    if not isinstance(found or {}, dict):
        raise LabError(f"Expected parameters as `name: value` in {path}, found {found!r}.")
    return dict(found or {})


def assign(curriculum: Curriculum, labs: Iterable[Lab], given: Mapping[str, Any]) -> Values:
    """Give each lab the parameters it has; refuse a name that no lab has.

    A name may be `rows` (every lab that has it) or `core/03:rows` (one lab).
    """
    values: Values = {}
    known: dict[str, dict[str, source.Parameter]] = {}
    for lab in labs:
        cells = notebook.cells_in(notebook.text_to_run(curriculum, lab))
        found = source.parameters(cells)
        known[lab.id] = {parameter.name: parameter for parameter in found}
        values[lab.id] = {}
        for name, value in lab.set.items():
            _put(values, known, lab.id, name, value)
    for key, value in given.items():
        where, colon, name = key.rpartition(":")
        wanted = [curriculum.get(where).id] if colon else list(known)
        having = [lab for lab in wanted if name in known.get(lab, {})]
        if not having:
            names = sorted({name for parameters in known.values() for name in parameters})
            raise UnknownParameter(
                f"Expected the name of a parameter, found {key!r}. "
                f"The labs to run ({', '.join(known)}) have: {', '.join(names) or 'none'}."
            )
        for lab_id in having:
            _put(values, known, lab_id, name, value)
    return values


def _put(
    values: Values,
    known: Mapping[str, Mapping[str, source.Parameter]],
    lab: str,
    name: str,
    value: Any,
) -> None:
    parameter = known[lab].get(name)
    if parameter is None:
        raise UnknownParameter(f"labs.toml sets {name!r} for {lab}, which has no such parameter.")
    allowed = TYPES.get(parameter.type)
    is_bool_for_number = isinstance(value, bool) and parameter.type != "bool"
    if allowed and (not isinstance(value, allowed) or is_bool_for_number):
        raise UnknownParameter(
            f"Expected {parameter.type} for {name!r} of {lab}, found {value!r}. "
            f"Its help says: {parameter.help or 'nothing'}."
        )
    values[lab][name] = value
