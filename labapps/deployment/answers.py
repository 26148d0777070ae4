"""Answer a batch of requests with one model: parse, predict once for all, fall back one by one.

Batching must not be seen: a bad request in a batch spoils no other, and if a model answers a
batch differently from its rows one by one (matrix products may round differently), it is asked
one request at a time from then on. The first batches are computed both ways to know.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from labapps.deployment import digest, formats, frames, rows
from labapps.forks import source
from labapps.web.asgi import Problem

__all__ = ["Answers"]

BATCH_ROWS = 4096
TRIALS = 3
CLIENT_ERRORS = (KeyError, ValueError, TypeError, IndexError)


@dataclass
class Item:
    """One request of a batch on its way to its reply."""

    kind: int
    old: bool = False  # answered as MLflow 1.x did: with a bare list
    rows: Any = None
    count: int = 0
    values: list[Any] | None = None
    problem: Problem | None = None


@dataclass
class Answers:
    """A loaded model with its contract."""

    name: str
    version: str
    path: str
    format: str
    scoring: str = ""
    features: Sequence[str] = ()
    mappings: dict[str, str] = field(default_factory=dict)
    registered: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    digests: Sequence[tuple[str, str]] = ()
    trials: int = TRIALS
    batching: bool = True

    def load(self) -> dict[str, Any]:
        """Load the model; return what `GET /models` tells about it."""
        self.functions: dict[str, Any] | None = None
        digest.verify(self.digests)
        if self.scoring:
            script = Path(self.scoring)
            code = source.compile_source(script.read_bytes(), str(script), self.mappings)
            self.functions = {"__name__": script.stem, "__file__": str(script)}
            exec(code, self.functions)
            self.loaded = self.functions["load"](self.path)
            known = getattr(self.loaded, "feature_names_in_", ())
            self.features = list(self.features) or [str(name) for name in known]
            note = formats.PICKLE_NOTE if self.format == "pickle" else ""
            return {"features": list(self.features), "note": note}
        self.model = formats.load(self.path, self.format, self.features, **self.options)
        return {"features": list(self.model.features), "note": self.model.note}

    def answer(self, batch: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Answer each request of a batch, in order."""
        began = time.perf_counter()
        items = [self.read(kind, body) for kind, body in batch]
        good = [item for item in items if item.problem is None]
        start = 0
        while start < len(good):
            end, count = start + 1, good[start].count
            while end < len(good) and self.batching and count + good[end].count <= BATCH_ROWS:
                count += good[end].count
                end += 1
            self.solve(good[start:end])
            start = end
        seconds = round(time.perf_counter() - began, 6)
        return [self.reply(item, seconds) for item in items]

    def read(self, kind: int, body: bytes) -> Item:
        """Parse and check one request."""
        item = Item(kind)
        try:
            if kind == frames.PREDICT:
                found = rows.rows_of_predict(rows.parse(body))
            else:
                found, item.old = rows.rows_of_invocation(body, kind == frames.CSV)
                item.old |= kind == frames.OLD
            item.count = len(found)
            item.rows = found if self.functions is not None else self.table(found)
            if self.functions is not None and self.features and isinstance(found[0], dict):
                rows.check_names(found, self.features)
        except Problem as problem:
            item.problem = problem
        return item

    def table(self, found: list[Any]) -> Any:
        model = self.model
        if not model.wants_frame:
            return rows.matrix(found, model.features, model.width, model.takes_missing)
        import pandas

        if isinstance(found[0], dict):
            rows.check_names(found, model.features)
            return pandas.DataFrame.from_records(found, columns=list(model.features))
        return pandas.DataFrame(rows.lists(found, (), model.width), columns=list(model.features))

    def solve(self, items: list[Item]) -> None:
        """Predict for all items at once; for each alone when that fails or is not the same."""
        if len(items) > 1:
            try:
                together = self.split(self.predict(self.join(items)), items)
            except Exception:
                together = None
            if together is not None and self.trials <= 0:
                for item, values in zip(items, together, strict=True):
                    item.values = values
                return
        else:
            together = None
        for item in items:
            self.solve_one(item)
        if together is not None and all(item.values is not None for item in items):
            self.trials -= 1
            alone = [item.values for item in items]
            if repr(alone) != repr(together):
                self.batching = False

    def solve_one(self, item: Item) -> None:
        try:
            item.values = self.split(self.predict(item.rows), [item])[0]
        except Problem as problem:
            item.problem = problem
        except CLIENT_ERRORS as error:
            item.problem = Problem(
                422,
                f"The model refused the rows: {type(error).__name__}: {error}",
                expected=list(self.features)
                or list(getattr(getattr(self, "model", None), "features", ()))
                or "rows as the model was trained on",
            )
        except BaseException as error:
            item.problem = Problem(500, f"The model failed: {type(error).__name__}: {error}")

    def join(self, items: list[Item]) -> Any:
        first = items[0].rows
        if isinstance(first, list):
            return [row for item in items for row in item.rows]
        if self.model.wants_frame:
            import pandas

            return pandas.concat([item.rows for item in items], ignore_index=True)
        import numpy

        return numpy.concatenate([item.rows for item in items])

    def predict(self, table: Any) -> list[Any]:
        if self.functions is not None:
            found = self.functions["predict"](self.loaded, table)
        else:
            found = self.model.predict(table)
        values = found.tolist() if hasattr(found, "tolist") else list(found)
        if len(values) != len(table):
            raise RuntimeError(
                f"predict returned {len(values)} values for {len(table)} rows; expected one a row"
            )
        return values

    def split(self, values: list[Any], items: list[Item]) -> list[list[Any]]:
        parts, start = [], 0
        for item in items:
            parts.append(values[start : start + item.count])
            start += item.count
        return parts

    def reply(self, item: Item, seconds: float) -> tuple[int, bytes]:
        """Word the reply in the form of the request."""
        if item.problem is None:
            try:
                return 200, self.word(item, seconds)
            except TypeError as error:
                item.problem = Problem(500, f"predict returned what JSON cannot hold: {error}")
        return item.problem.status, orjson.dumps(item.problem.body)

    def word(self, item: Item, seconds: float) -> bytes:
        values = item.values or []
        if item.old:
            return orjson.dumps(values)
        if item.kind != frames.PREDICT:
            return orjson.dumps({"predictions": values})
        reply = {
            "output": "\n".join([str(v) for v in values]),
            "predictions": values,
            "stderr": "",
            "seconds": seconds,
            "model": self.name,
            "version": self.version,
        }
        if self.registered:
            reply["registered"] = self.registered
        return orjson.dumps(reply)
