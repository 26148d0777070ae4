"""What the logistics labs compute, on fleets that nobody has seen: other seeds, labels that were
mixed, one lorry. The cells and programs are those of the labs, run as they stand in their sources.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.metrics import roc_auc_score

from labdata import fleet
from labdata.fleet.files import read_truth, write_fleet
from labdata.fleet.signals import plan_of
from tests.labs.cells import code_of
from tests.labs.checkpoints import foundations
from tests.labs.stories.story import replay
from tests.repo.tree import ROOT

pytestmark = [pytest.mark.labs, pytest.mark.timeout(600)]

SIGNALS = [f"iot_signal_{number}" for number in (1, 2, 3, 4)]
DEVICES = 20  # as labs logistics-08 and logistics-09 have them
SEEDS = [
    pytest.param(seed, marks=[] if seed == 101 else [pytest.mark.nightly])
    for seed in range(101, 121)
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine a second thread of XGBoost waits in a loop."""
    with xgboost.config_context(nthread=1):
        yield


def source(name: str) -> str:
    return (ROOT / "notebooks" / "_src" / "logistics" / f"{name}.py").read_text("utf-8")


class Recorder:
    """What stands for a tracking server: it keeps the models of a program, and nothing else."""

    def __init__(self) -> None:
        self.models: dict[str, xgboost.Booster] = {}
        self.run = ""
        self.xgboost = SimpleNamespace(log_model=self.keep, load_model=self.models.__getitem__)

    @contextlib.contextmanager
    def start_run(self, run_name: str, nested: bool = False) -> Iterator[None]:
        self.run = run_name
        yield

    def keep(self, model: xgboost.Booster, **_: Any) -> SimpleNamespace:
        self.models[f"runs:/{self.run}/model"] = model
        return SimpleNamespace(registered_model_version="2")

    def nothing(self, *_: Any) -> None:
        """Take tags, parameters and metrics."""

    set_tags = log_params = log_metric = log_metrics = set_experiment = nothing


def judged(seed: int, mixed: bool = False) -> dict[str, str]:
    """Train the three models of lab logistics-08; return what its checkpoint says of each."""
    rows = pd.concat([fleet.failures_of(seed, range(DEVICES), day) for day in range(3)])
    last = rows["event_ts"].max().normalize()
    learn, judge = rows[rows["event_ts"] < last], rows[rows["event_ts"] >= last]
    if mixed:
        dice = np.random.default_rng(seed)
        learn = learn.assign(iot_failure=dice.permutation(learn["iot_failure"].to_numpy()))
    recorder = Recorder()
    names: dict[str, Any] = {
        "learn": learn, "judge": judge, "SIGNALS": SIGNALS, "trees": 100, "seed": 7, "snapshot": 1,
        "table": "t", "mlflow": recorder, "xgboost": xgboost, "roc_auc_score": roc_auc_score,
        "infer_signature": lambda *_: None, "data": SimpleNamespace(fleet=fleet),
    }  # fmt: skip
    exec(code_of(source("08_failures"), "learn, judge = (part"), names)
    exec(code_of(source("08_failures"), "def verdict("), names)
    found = {}
    for name, (columns, depth) in names["plans"].items():
        names["train"](name, columns, depth)
        run = SimpleNamespace(info=SimpleNamespace(run_id=name))
        found[name] = names["verdict"](run)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_verdicts_hold_for_any_fleet(seed: int) -> None:
    assert judged(seed) == {
        "one question": "did not learn",
        "four questions": "honest",
        "with event_type": "cheated",
    }


def test_mixed_labels_are_found_at_the_floor_and_the_leak_at_the_ceiling() -> None:
    found = judged(101, mixed=True)
    assert found["four questions"] == "did not learn"
    assert judged(101)["with event_type"] == "cheated"


@pytest.mark.nightly  # a compiler works for most of a minute
@pytest.mark.parametrize("seed", range(101, 121))
def test_motif_and_discord_are_found_in_any_fleet(seed: int) -> None:
    patterns_of = foundations(source("03_patterns"))["patterns_of"]
    right = 0
    for device in range(10):
        (found,) = patterns_of(fleet.day_of(seed, device)).to_dict("records")
        plan = plan_of(seed, device)
        near = (
            abs(found["first"] - plan.motif[0]) <= 5 and abs(found["second"] - plan.motif[1]) <= 5
        )
        right += near and -60 < found["discord"] - plan.discord < 30
    assert right >= 9


@pytest.mark.parametrize("seed", SEEDS)
def test_alert_is_silent_for_twenty_quiet_windows_and_fires_on_drift(seed: int) -> None:
    lab = foundations(source("06_watch"))
    days = [fleet.day_of(seed, device)["iot_signal_3"].to_numpy() for device in range(40)]
    lab["known"] = np.concatenate([np.convolve(day, np.ones(30) / 30, "valid") for day in days])
    dice = np.random.default_rng(seed)

    def window(shift: float) -> float:
        levels = []
        for _ in range(lab["size"]):
            day = days[dice.integers(len(days))]
            at = dice.integers(len(day) - 30)
            levels.append(day[at : at + 30].mean() + shift)
        return float(lab["psi"](np.array(levels)))

    values = [window(0.0) for _ in range(20)] + [window(lab["shift"]) for _ in range(3)]
    assert lab["fires"](values) == [False] * 21 + [True] * 2


@pytest.mark.parametrize("seed", SEEDS)
def test_challenger_takes_over_in_any_fleet(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs `judge` and `retrain` of lab logistics-09, one after the other."""
    names: dict[str, Any] = {}
    for start in ("JUDGE = ", "PREPARE = ", "CHALLENGE = ", "RULE = "):
        exec(code_of(source("09_loop"), start), names)
    old = pd.concat([fleet.failures_of(seed, range(DEVICES), day) for day in range(3)])
    old.to_parquet(tmp_path / "old.parquet")
    fleet.failures_of(seed, range(DEVICES), 30, drift=True).to_parquet(tmp_path / "new.parquet")
    deciles = {name: old[name].quantile(np.arange(1, 10) / 10).tolist() for name in SIGNALS}
    (tmp_path / "reference.json").write_text(json.dumps(deciles))
    (tmp_path / "snapshot.txt").write_text("5")
    recorder = Recorder()
    how = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 1}
    rows = xgboost.DMatrix(old[SIGNALS], old["iot_failure"])
    recorder.models["models:/fleet/1"] = xgboost.train(how, rows, 100)
    models = ModuleType("mlflow.models")
    models.infer_signature = lambda *_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", recorder)
    monkeypatch.setitem(sys.modules, "mlflow.models", models)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_FACTS", str(tmp_path / "facts"))
    monkeypatch.setattr(sys, "argv", ["retrain.py", "fleet", "1", *SIGNALS])

    def run(program: str) -> dict[str, Any]:
        (tmp_path / "facts").write_text("")
        exec(program, {"__name__": "__main__"})
        lines = (tmp_path / "facts").read_text().splitlines()
        return {name: value for line in lines for name, value in json.loads(line).items()}

    monkeypatch.setenv("WORKBENCH_PARENT_FACTS", "{}")
    drift = run(names["JUDGE"])
    assert 0.25 < drift["psi"] < 1
    monkeypatch.setenv("WORKBENCH_PARENT_FACTS", json.dumps(drift))
    facts = run(names["RETRAIN"])
    assert facts["challenger"] < 0.995 * facts["champion"]
    assert facts["version"] == "2"
    monkeypatch.setenv("WORKBENCH_PARENT_FACTS", json.dumps({"psi": 0.01}))
    assert run(names["RETRAIN"])["version"] == "1", "without a drift the champion stays"


@pytest.mark.nightly
def test_fleet_of_one_lorry_is_a_fleet(tmp_path: Path) -> None:
    write_fleet(tmp_path, devices=1, seed=101)
    place = fleet.find_fleet(str(tmp_path))
    events, truth = fleet.read_events(place), read_truth(place)
    (name,) = truth["planted"]
    assert len(events) == events["id"].nunique() == 1440
    patterns_of = foundations(source("03_patterns"))["patterns_of"]
    (found,) = patterns_of(events).to_dict("records")
    assert found["device_id"] == name
    assert abs(found["first"] - truth["planted"][name]["motif"][0]) <= 5


@pytest.mark.nightly  # three labs, one of them with Spark
@pytest.mark.timeout(1300)
@pytest.mark.parametrize(
    ("devices", "seed", "threads", "cores"),
    [
        pytest.param(70, 101, "8", 0, id="100,800 rows, eight threads asked for"),
        pytest.param(30, 102, "", 1, id="one core, a fleet too small for its pair"),
    ],
)
def test_maps_states_and_patterns_pass_on_another_fleet(
    devices: int,
    seed: int,
    threads: str,
    cores: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_fleet(tmp_path / "fleet", devices=devices, seed=seed)
    if threads:
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    labs = "logistics/01,logistics/02,logistics/03"
    words = ("--only", labs, "--set", f"own_files={tmp_path / 'fleet'}")
    with on_cores(cores):
        done = replay(tmp_path / "out", *words)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [len(lab["checkpoints"]) for lab in report["labs"]] == [5, 5, 7]


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let what is started here use so many cores; 0: all there are."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count] if count else before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
