"""The deployment engine as its callers see it: a load balancer and two RESTServers."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.labapps import models
from tests.labapps.pods import TOKEN, Cluster, Pod, call, eventually, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
REPOSITORY = "repo://project_repo"
CONNECTED = {
    "published": ("1", "hgb.pkl", "score.py"),
    "functions": ("1", "hgb.pkl", "functions.py"),
    "native": ("1", "hgb.skops", ""),
    "forest": ("1", "rf.onnx", ""),
    "booster": ("2", "xgb.json", ""),
    "exits": ("1", "hgb.pkl", "exits.py"),
    "dies": ("1", "hgb.pkl", "dies.py"),
    "hangs": ("1", "hgb.pkl", "hangs.py"),
    "binary": ("1", "hgb.pkl", "binary.py"),
    "floods": ("1", "hgb.pkl", "floods.py"),
    "leaks": ("1", "hgb.pkl", "leaks.py"),
    "ends_well": ("1", "hgb.pkl", "ends_well.py"),
    "absent": ("1", "absent.pkl", ""),
    "syntax": ("1", "hgb.pkl", "syntax.py"),
    "raises": ("1", "hgb.pkl", "raises.py"),
    "typed": ("1", "hgb.weird", ""),
}
BROKEN = {"absent", "syntax", "raises", "typed"}


@pytest.fixture(scope="module", params=["own", "haproxy"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    if Pod.engine is not None and request.param == "own":
        pytest.skip("the image balances with its haproxy")
    if request.param == "haproxy" and Pod.engine is None and shutil.which("haproxy") is None:
        pytest.skip("haproxy is not on this machine; `.ci/run` installs it where it can")
    folder = tmp_path_factory.mktemp("deployment")
    roles = {"LoadBalancer": 1, "RESTServer": 2}
    env = {"PREDICT_TIMEOUT": "2", "SCRIPT_WARM": "1", "BALANCER": request.param}
    cluster = Cluster(folder, "deployment", roles, **env)
    models.train(cluster.repository)
    (cluster.repository / "hgb.weird").write_bytes(b"")
    for name, (version, path, script) in CONNECTED.items():
        scoring = {"scoring_path": f"{REPOSITORY}/{script}"} if script else {}
        cluster.model(name, name, version, f"{REPOSITORY}/{path}", **scoring)
    with running(cluster):
        cluster.settle(120)
        yield cluster


def url(cluster: Cluster, path: str, port: int = 32700) -> str:
    return f"http://{cluster.pods['LoadBalancer'][0].ip}:{port}/{path}"


def predict(
    cluster: Cluster, name: str, args: Any = None, use: Any = True, **more: Any
) -> tuple[int, Any]:
    body = {"use_scoring": use, "scoring_args": models.ROW if args is None else args}
    return call(url(cluster, f"{name}/{CONNECTED[name][0]}/predict"), body, **more)


@pytest.mark.parametrize("use", [True, "true", "True"])
def test_published_script_answers_with_what_it_printed(engine: Cluster, use: Any) -> None:
    status, body = predict(engine, "published", use=use)
    assert status == 200
    assert re.fullmatch(r"The ride duration prediction is -?[\d.]+ seconds.\n", body["output"])
    assert body["stderr"] == "a warning line\n"
    assert body["seconds"] > 0


def test_published_script_is_not_run_unasked(engine: Cluster) -> None:
    status, body = predict(engine, "published", use=False)
    assert status == 400
    assert body["expected"]["use_scoring"] is True


@pytest.mark.parametrize("name", ["native", "functions", "forest", "booster"])
def test_recommended_contract_answers_many_rows_in_one_call(engine: Cluster, name: str) -> None:
    status, body = predict(engine, name, [models.ROW, models.ROW])
    assert status == 200, body
    assert len(body["predictions"]) == 2
    assert body["output"].splitlines() == [str(value) for value in body["predictions"]]


def test_token_is_taken_from_the_query_too(engine: Cluster) -> None:
    body = {"scoring_args": models.ROW}
    address = url(engine, f"native/1/predict?X-Auth-Token={TOKEN}")
    assert call(address, body, token=None)[0] == 200


@pytest.mark.parametrize("token", [None, "f" * 32, TOKEN[:-1], ""])
def test_wrong_token_is_refused_with_where_the_right_one_is(
    engine: Cluster, token: str | None
) -> None:
    status, body = predict(engine, "native", token=token)
    assert status == 401
    assert "kd-auth-token" in body["expected"]


def test_unknown_model_is_answered_with_the_known_ones(engine: Cluster) -> None:
    status, body = call(url(engine, "nobody/1/predict"), {"scoring_args": {}})
    assert status == 404
    assert set(body["models"]) == {
        f"{name}/{CONNECTED[name][0]}" for name in CONNECTED.keys() - BROKEN
    }


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("exits", 500, "exit code 3"),
        ("dies", 500, "SIGKILL"),
        ("hangs", 504, "longer than 2 s"),
        ("binary", 500, "not UTF-8"),
        ("floods", 500, "printed more than"),
    ],
)
def test_bad_script_is_told_from_a_good_one_and_harms_nobody(
    engine: Cluster, name: str, status: int, words: str
) -> None:
    found, body = predict(engine, name)
    assert found == status
    assert words in body["error"]
    assert "argv[1]" in body["expected"]
    assert predict(engine, "published")[0] == 200


def test_script_leaves_nothing_to_the_next_request(engine: Cluster) -> None:
    for _ in range(6):
        status, body = predict(engine, "leaks")
        assert (status, body["output"]) == (200, "0 False 0\n"), body


def test_script_that_exits_well_has_its_exit_handlers_run(engine: Cluster) -> None:
    assert predict(engine, "ends_well")[1]["output"] == "hi\nbye\n"


@pytest.mark.parametrize(
    ("hour", "status", "words"),
    [(666, 422, "no such hour"), (777, 500, "ends whenever"), (888, 504, "within 2 s")],
)
def test_model_code_that_fails_dies_or_hangs_fails_its_request_alone(
    engine: Cluster, hour: int, status: int, words: str
) -> None:
    found, body = predict(engine, "functions", models.ROW | {"hour": hour})
    assert (found, words in body["error"]) == (status, True), body
    assert predict(engine, "functions")[0] == 200


def test_missing_feature_is_named(engine: Cluster) -> None:
    status, body = predict(engine, "native", {"distance": 1, "hour": 2, "month": 3})
    assert status == 422
    assert body["missing"] == ["work"]
    assert body["expected"] == models.FEATURES


def test_body_of_a_hundred_megabytes_is_refused_and_the_next_is_served(engine: Cluster) -> None:
    host = engine.pods["LoadBalancer"][0].ip
    with socket.create_connection((host, 32700)) as sock:
        head = f"POST /native/1/predict HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\n"
        sock.sendall(f"{head}Content-Length: {100 << 20}\r\n\r\n".encode() + b"x" * 65536)
        reply = sock.recv(65536)
    assert reply.startswith(b"HTTP/1.1 413")
    assert b"at most 16777216" in reply
    assert predict(engine, "native")[0] == 200


def test_chunked_body_counts_against_the_limit_too(engine: Cluster) -> None:
    host = engine.pods["RESTServer"][0].ip
    client = http.client.HTTPConnection(host, 10001, timeout=60)
    headers = {"X-Auth-Token": TOKEN, "Transfer-Encoding": "chunked"}
    piece = b"x" * (1 << 20)
    try:
        client.request("POST", "/native/1/predict", (piece for _ in range(17)), headers)
        assert client.getresponse().status == 413
    except ConnectionError:  # the server need not read what it refuses
        assert predict(engine, "native")[0] == 200
    finally:
        client.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_wrong_method_is_answered_with_the_right_one(engine: Cluster, method: str) -> None:
    status, body = call(url(engine, "native/1/predict"), method=method)
    assert (status, body["expected"]) == (405, "POST /native/1/predict")


def test_models_lists_what_serves_and_what_is_wrong(engine: Cluster) -> None:
    status, body = call(url(engine, "models"))
    lines = {line["configmap"]: line for line in body["models"]}
    assert status == 200
    assert lines["native"]["status"] == "serving"
    assert lines["native"]["features"] == models.FEATURES
    assert "pickle runs code" in lines["functions"]["note"]
    assert {name for name, line in lines.items() if line["status"] == "broken"} == BROKEN
    assert "expected a file" in lines["absent"]["error"]
    assert "not Python" in lines["syntax"]["error"]
    assert "no luck" in lines["raises"]["error"]
    assert ".skops" in lines["typed"]["error"]


def test_complaints_reach_the_start_script(engine: Cluster) -> None:
    lines = engine.pods["RESTServer"][0].applied() or []
    assert len(lines) == 1 + len(BROKEN)


def test_page_of_the_interface_needs_no_other_server(engine: Cluster) -> None:
    status, page = call(url(engine, "docs"), token=None)
    assert status == 200
    assert "/native/1/predict" in page
    assert not re.search(r"""(src|href)=['"]?(https?:)?//""", page)
    status, document = call(url(engine, "openapi.json"), token=None)
    assert document["openapi"].startswith("3.")
    assert "/native/1/predict" in document["paths"]


def test_metrics_count_answers_by_model_and_status(engine: Cluster) -> None:
    host = engine.pods["RESTServer"][0].ip
    call(f"http://{host}:10001/native/1/predict", {"scoring_args": models.ROW})
    text = call(f"http://{host}:10001/metrics", token=None)[1]
    assert re.search(r'deployment_requests_total{model="native/1",status="200"} [1-9]', text)
    assert "deployment_batch_requests_bucket" in text


def test_invocations_needs_a_model_when_there_are_several(engine: Cluster) -> None:
    body = {"dataframe_records": [models.ROW]}
    status, answer = call(url(engine, "invocations"), body)
    assert (status, "native/1" in answer["models"]) == (400, True)
    assert call(url(engine, "invocations?model=native"), body)[0] == 200
    status, answer = call(url(engine, "native/1/invocations"), body)
    assert (status, list(answer)) == (200, ["predictions"])


def test_pandas_split_of_mlflow_1_is_answered_with_a_bare_list(engine: Cluster) -> None:
    body = {"columns": models.FEATURES, "data": [[1.5, 9, 1, 2]]}
    kind = {"Content-Type": "application/json; format=pandas-split"}
    status, answer = call(url(engine, "native/1/invocations"), body, headers=kind)
    assert status == 200
    assert isinstance(answer, list)


def test_balancer_spreads_requests_and_shows_it(engine: Cluster) -> None:
    page = call(url(engine, "", 8081), token=None)[1]
    if engine.env["BALANCER"] == "haproxy":
        assert "Statistics Report" in page
        return
    assert "<table>" in page
    before = {s["server"]: s["total"] for s in call(url(engine, "stats", 8081))[1]["servers"]}
    for _ in range(10):
        predict(engine, "native")
    after = {s["server"]: s["total"] for s in call(url(engine, "stats", 8081))[1]["servers"]}
    assert [after[name] - before[name] for name in after] == [5, 5]


def test_broken_successor_leaves_the_old_model_serving(engine: Cluster) -> None:
    before = predict(engine, "native")[1]["output"]
    path = engine.repository / "broken.skops"
    path.write_bytes(b"nonsense")
    engine.model("native", "native", "1", f"{REPOSITORY}/broken.skops")
    engine.write()
    complaints = engine.settle()
    assert any("native/1 does not load" in line for line in complaints)
    assert predict(engine, "native")[1]["output"] == before
    line = next(m for m in call(url(engine, "models"))[1]["models"] if m["configmap"] == "native")
    assert line["status"] == "serving, successor broken"
    engine.model("native", "native", "1", f"{REPOSITORY}/hgb.skops")
    engine.write()
    assert not any("native" in line for line in engine.settle())


@pytest.mark.parametrize(
    "script", ["", "functions.py", "score.py"], ids=lambda name: name or "none"
)
def test_file_replaced_since_it_was_registered_is_not_loaded(engine: Cluster, script: str) -> None:
    scoring = {"scoring_path": f"{REPOSITORY}/{script}"} if script else {}
    if script:
        scoring["scoring_digest"] = sha256(engine.repository / script)
    file = engine.repository / "traced.pkl"
    shutil.copy(engine.repository / "hgb.pkl", file)
    traced = scoring | {"model_digest": "sha256:" + sha256(file)}
    engine.model("traced", "traced", "1", f"{REPOSITORY}/traced.pkl", **traced)
    engine.write()
    assert not any("traced" in line for line in engine.settle())
    body = {"use_scoring": True, "scoring_args": models.ROW}
    before = call(url(engine, "traced/1/predict"), body)
    assert before[0] == 200
    file.write_bytes(file.read_bytes() + b"more")  # a pickle ends before it: it would load
    engine.model("traced", "traced", "1", f"{REPOSITORY}/traced.pkl", description="again", **traced)
    engine.write()
    complaints = [line for line in engine.settle() if "traced" in line]
    assert len(complaints) == 2, "each of the two servers has compared"
    for complaint in complaints:
        assert (
            f"expected traced.pkl to have the SHA-256 digest {traced['model_digest']}" in complaint
        )
        assert f"found {sha256(file)}" in complaint
    assert call(url(engine, "traced/1/predict"), body)[1]["output"] == before[1]["output"]
    engine.disconnect("traced")
    engine.write()
    engine.settle()


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_new_version_answers_beside_the_old_one_and_leaves_when_disconnected(
    engine: Cluster,
) -> None:
    engine.model("native-2", "native", "2", f"{REPOSITORY}/rf.skops")
    engine.write()
    engine.settle()
    body = {"scoring_args": models.ROW}
    one = call(url(engine, "native/1/predict"), body)[1]
    two = call(url(engine, "native/2/predict"), body)[1]
    assert (one["version"], two["version"]) == ("1", "2")
    assert one["output"] != two["output"]
    engine.disconnect("native-2")
    engine.write()
    engine.settle()
    assert call(url(engine, "native/2/predict"), body)[0] == 404


def test_two_configmaps_of_one_version_are_told_apart_by_a_complaint(engine: Cluster) -> None:
    engine.model("zz-copy", "native", "1", f"{REPOSITORY}/rf.skops")
    engine.write()
    assert any("already served for ConfigMap native" in line for line in engine.settle())
    engine.disconnect("zz-copy")
    engine.write()
    engine.settle()


@pytest.mark.on_host
def test_dead_worker_is_replaced_and_its_request_answered(engine: Cluster) -> None:
    pod = engine.pods["RESTServer"][0]
    assert pod.process is not None
    base = f"http://{pod.ip}:10001"
    zygote = psutil.Process(pod.process.pid).children()[0]
    for worker in zygote.children():
        worker.kill()
    body = json.loads(json.dumps({"scoring_args": models.ROW}))
    assert call(f"{base}/native/1/predict", body)[0] == 200
    zygote.kill()  # its workers answer on, and the next fork starts another one
    assert call(f"{base}/native/1/predict", body)[0] == 200
    published = {"use_scoring": True, "scoring_args": models.ROW}
    eventually(
        "scripts to run again",
        lambda: call(f"{base}/published/1/predict", published)[0] == 200,
    )


def test_engine_that_can_no_longer_follow_its_configuration_ends(tmp_path: Path) -> None:
    """It would serve what was right once, and tell nobody."""
    cluster = Cluster(tmp_path, "deployment", {"RESTServer": 1})
    with running(cluster):
        cluster.settle(60)
        (pod,) = cluster.pods["RESTServer"]
        kept = pod.root / "run/labapps/applied"
        kept.unlink()
        kept.mkdir()  # so it cannot say that the next configuration is in force
        cluster.model("new", "new", "1", f"{REPOSITORY}/absent.pkl")
        cluster.write()
        assert pod.process is not None
        assert pod.process.wait(60) != 0
        assert "can no longer follow its configuration" in pod.log.read_text()
