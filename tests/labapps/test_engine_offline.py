"""The deployment engine asks nobody outside, whatever it serves: counted without a network.

ONNX Runtime tells its maker which models it loads, unless it is told not to.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.alone import QUIET, inside, needs_namespaces, raise_loopback, report
from tests.labapps import models
from tests.labapps.pods import Cluster, call, eventually, running

MODULE = "tests.labapps.test_engine_offline"
SECONDS = 16


@pytest.mark.sandbox
@pytest.mark.timeout(200)
@needs_namespaces
def test_engine_asks_nobody_outside(tmp_path: Path) -> None:
    assert inside(MODULE, str(tmp_path)) == QUIET


def serve(folder: Path) -> None:
    """Serve an ONNX model, ask it, and end."""
    cluster = Cluster(folder, "deployment", {"LoadBalancer": 1, "RESTServer": 1})
    models.train(cluster.repository)
    cluster.model("one", "taxi", "1", "repo://project_repo/rf.onnx")
    with running(cluster):
        cluster.settle(120)
        url = f"http://{cluster.pods['LoadBalancer'][0].ip}:32700/taxi/1/predict"
        body = {"use_scoring": True, "scoring_args": models.ROW}
        print(eventually("a prediction", lambda: call(url, body)[0] == 200, 60), file=sys.stderr)
        time.sleep(SECONDS)  # pause: it tells after eight seconds, and in silence


if __name__ == "__main__":
    raise_loopback()
    # A run of tests, and a continuous integration, silence it too: learners have neither.
    for name in ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"):
        os.environ.pop(name, None)
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    serve(Path(sys.argv[1]))
    report()
