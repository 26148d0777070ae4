"""One model, many requests: batches must not be seen."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from labapps.deployment import formats
from labapps.deployment.answers import Answers
from labapps.deployment.frames import CSV, INVOCATIONS, OLD, PREDICT
from labdata import payload
from tests.labapps import models

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    models.train(folder)
    return folder


def loaded(folder: Path, file: str, **more: Any) -> Answers:
    kinds = {".skops": "skops", ".onnx": "onnx", ".json": "xgboost", ".pkl": "pickle"}
    kind = kinds[Path(file).suffix]
    answers = Answers("m", "1", str(folder / file), kind, **more)
    answers.load()
    return answers


def predict(args: Any) -> tuple[int, bytes]:
    return PREDICT, json.dumps({"use_scoring": True, "scoring_args": args}).encode()


def rows(count: int) -> list[dict[str, float]]:
    return [
        {name: (n * 7 + i) % 13 - 6.5 for i, name in enumerate(models.FEATURES)}
        for n in range(count)
    ]


@pytest.mark.parametrize("file", ["hgb.skops", "rf.skops", "rf.onnx", "xgb.json", "hgb.pkl"])
def test_batch_answers_bit_for_bit_as_single_requests(folder: Path, file: str) -> None:
    answers = loaded(folder, file)
    requests = [predict(row) for row in rows(50)]
    single = [orjson.loads(answers.answer([r])[0][1])["predictions"] for r in requests]
    answers.trials = 0
    together = [orjson.loads(body)["predictions"] for _, body in answers.answer(requests)]
    assert together == single
    assert answers.batching


def test_bad_request_spoils_no_other_of_its_batch(folder: Path) -> None:
    answers = loaded(folder, "hgb.pkl", scoring=str(folder / "functions.py"))
    answers.trials = 0
    bad = models.ROW | {"hour": 666}
    replies = answers.answer([predict(models.ROW), predict(bad), predict(models.ROW), predict(7)])
    assert [status for status, _ in replies] == [200, 422, 200, 422]
    assert "no such hour" in replies[1][1].decode()


def test_model_that_looks_at_the_whole_batch_is_asked_one_by_one(
    folder: Path, tmp_path: Path
) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "def load(p): return 0\ndef predict(m, rows): return [len(rows)] * len(rows)\n"
    )
    answers = loaded(folder, "hgb.pkl", scoring=str(script))
    for _ in range(3):
        replies = answers.answer([predict({"a": 1}), predict({"a": 2})])
        assert [orjson.loads(body)["predictions"] for _, body in replies] == [[1], [1]]
    assert not answers.batching


def test_many_rows_in_one_request_keep_their_order(folder: Path) -> None:
    answers = loaded(folder, "hgb.skops")
    table = rows(100)
    single = [orjson.loads(answers.answer([predict(r)])[0][1])["predictions"][0] for r in table]
    body = orjson.loads(answers.answer([predict(table)])[0][1])
    assert body["predictions"] == single
    assert body["output"].splitlines() == [str(value) for value in single]


REVERSED = {"columns": models.FEATURES[::-1], "data": [[2, 1, 9, 1.5]]}
FORMS = [
    (INVOCATIONS, {"dataframe_records": [models.ROW]}),
    (
        INVOCATIONS,
        {"dataframe_split": REVERSED},
    ),
    (INVOCATIONS, {"instances": [models.ROW]}),
    (INVOCATIONS, {"instances": [[1.5, 9, 1, 2]]}),
    (INVOCATIONS, {"inputs": {name: [value] for name, value in models.ROW.items()}}),
    (OLD, {"columns": models.FEATURES, "index": [0], "data": [[1.5, 9, 1, 2]]}),
    (OLD, [models.ROW]),
    (OLD, {"columns": ["x"] * 4, "data": [[1.5, 9, 1, 2]]}),
    (INVOCATIONS, {"dataframe_split": {"columns": ["x"] * 4, "data": [[1.5, 9, 1, 2]]}}),
    (INVOCATIONS, {"columns": models.FEATURES, "data": [[1.5, 9, 1, 2]]}),
    (INVOCATIONS, [models.ROW]),
    (INVOCATIONS, [[1.5, 9, 1, 2]]),
]


@pytest.mark.parametrize(("kind", "body"), FORMS)
def test_invocation_forms_mean_the_same_row(folder: Path, kind: int, body: Any) -> None:
    answers = loaded(folder, "hgb.skops")
    expected = orjson.loads(answers.answer([predict(models.ROW)])[0][1])["predictions"]
    status, text = answers.answer([(kind, json.dumps(body).encode())])[0]
    found = orjson.loads(text)
    assert status == 200, text
    is_old = kind == OLD or payload.is_old(body)
    assert (found if is_old else found["predictions"]) == expected


def test_csv_means_the_same_row_and_is_answered_as_mlflow_does_now(folder: Path) -> None:
    answers = loaded(folder, "hgb.skops")
    expected = orjson.loads(answers.answer([predict(models.ROW)])[0][1])["predictions"]
    body = ",".join(models.FEATURES[::-1]) + "\n2,1,9,1.5\n"
    assert answers.answer([(CSV, body.encode())]) == [
        (200, orjson.dumps({"predictions": expected}))
    ]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (INVOCATIONS, b'{"inputs": {}}'),
        (INVOCATIONS, b'{"inputs": {"distance": []}}'),
        (INVOCATIONS, b'{"inputs": []}'),
        (INVOCATIONS, b"[]"),
        (INVOCATIONS, b'{"columns": ["a", "a"], "data": [[1]]}'),
        (OLD, b'{"columns": ["a"], "data": [[1, 2]]}'),
        (CSV, b"distance\n"),
        (CSV, b"\xff"),
        (INVOCATIONS, b'{"dataframe_split": {"columns": 5, "data": [[1]]}}'),
    ],
)
def test_invocation_without_rows_is_refused_and_the_next_answered(
    folder: Path, kind: int, body: bytes
) -> None:
    (status, text), (after, _) = loaded(folder, "hgb.skops").answer(
        [(kind, body), predict(models.ROW)]
    )
    assert status in (400, 422), text
    assert "xpected" in orjson.loads(text)["error"]
    assert after == 200


BAD = [
    (b"{", 400, "not JSON"),
    (b'{"scoring_args": {"distance": NaN}}', 400, "send null"),
    (b"[1]", 400, "JSON object"),
    (b"{}", 400, "scoring_args"),
    (b'{"scoring_args": 5}', 422, "an object"),
    (b'{"scoring_args": {"distance": 1}}', 422, "hour, work, month"),
    (b'{"scoring_args": {"distance": "far", "hour": 1, "work": 1, "month": 1}}', 422, '"far"'),
    (b'{"scoring_args": {"distance": "5", "hour": 1, "work": 1, "month": 1}}', 422, "number"),
    (b'{"scoring_args": {"distance": [1], "hour": 1, "work": 1, "month": 1}}', 422, "a list"),
    (b'{"scoring_args": {"distance": {}, "hour": 1, "work": 1, "month": 1}}', 422, "an object"),
    (b'{"scoring_args": [[1, 2]]}', 422, "4 numbers"),
    (b'{"scoring_args": [{"distance": 1, "hour": 1, "work": 1, "month": 1}, 5]}', 422, "Row 1"),
    (b'{"scoring_args": {"distance": 1e999, "hour": 1, "work": 1, "month": 1}}', 400, "not JSON"),
]


@pytest.mark.parametrize(("body", "status", "word"), BAD)
def test_bad_body_is_answered_with_what_was_expected(
    folder: Path, body: bytes, status: int, word: str
) -> None:
    answers = loaded(folder, "hgb.skops")
    (found, text), (after, _) = answers.answer([(PREDICT, body), predict(models.ROW)])
    assert found == status, text
    assert word in orjson.loads(text)["error"]
    assert "expected" in orjson.loads(text)
    assert after == 200


@pytest.mark.parametrize(
    ("file", "status"), [("hgb.skops", 200), ("xgb.json", 200), ("rf.onnx", 422)]
)
def test_missing_value_is_for_models_that_know_missing_values(
    folder: Path, file: str, status: int
) -> None:
    replies = loaded(folder, file).answer([predict(models.ROW | {"hour": None})])
    assert replies[0][0] == status


def test_skops_file_with_foreign_types_is_refused(tmp_path: Path) -> None:
    import skops.io

    skops.io.dump({"lock": threading.Event}, tmp_path / "m.skops")
    with pytest.raises(formats.LoadError, match="threading"):
        formats.load(str(tmp_path / "m.skops"), "skops")


def test_broken_file_says_what_it_was_taken_for(tmp_path: Path) -> None:
    for kind in ("skops", "onnx", "xgboost", "pickle"):
        path = tmp_path / f"m.{kind}"
        path.write_bytes(b"nonsense")
        with pytest.raises(formats.LoadError, match=f"as {kind}"):
            formats.load(str(path), kind)
