"""The magics in a Jupyter outside of the cluster: a kubeconfig, a gateway, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from IPython.core.error import UsageError

from labhelpers import magics
from tests.labapps import tls
from tests.labapps.pods import TOKEN, Cluster, call, running

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]
GROUP = "/apis/kubedirector.hpe.com/v1beta1/namespaces/tenant"


class Shell:
    """As much of IPython as magics are told to."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.magics: dict[tuple[str, str], Any] = {}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        self.magics[kind, name] = function


def kdcluster(name: str, app: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"app": app}}


def kdapp(name: str, **meta: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"config": {"configMeta": meta}}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    env = {"TRAINING_PRELOAD": "labapps.training.child"}
    roles = {"LoadBalancer": 1, "RESTServer": 1}
    cluster = Cluster(tmp_path_factory.mktemp("magics"), "training", roles, **env)
    with running(cluster):
        cluster.settle()
        yield cluster


@pytest.fixture
def shell(engine: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    files = tls.certificate(tmp_path)
    pod = engine.pods["LoadBalancer"][0]
    with tls.gateway(files, pod.ip, 32700) as train, tls.gateway(files, pod.ip, 10001) as history:
        notes = {
            "kubedirector.hpe.com/kd-auth-token": TOKEN,
            "hpecp-internal-gateway/32700": f"127.0.0.1:{train}",
            "hpecp-internal-gateway/10001": f"127.0.0.1:{history}",
        }
        service = {
            "metadata": {"name": "engine-0", "annotations": notes},
            "spec": {"selector": {"statefulset.kubernetes.io/pod-name": pod.ip.partition(".")[0]}},
        }
        clusters = [kdcluster("training-engine-shared", "training"), kdcluster("other", "web")]
        answers = {
            f"{GROUP}/kubedirectorclusters": {"items": clusters},
            f"{GROUP}/kubedirectorapps": {"items": [kdapp("training", ml_engine="python")]},
            "/api/v1/namespaces/tenant/services": {"items": [service]},
        }
        with tls.api(files, answers) as (port, _):
            context = {"cluster": "k", "user": "p-ann", "namespace": "tenant"}
            kubeconfig = {
                "current-context": "c",
                "contexts": [{"name": "c", "context": context}],
                "clusters": [
                    {
                        "name": "k",
                        "cluster": {
                            "server": f"https://127.0.0.1:{port}",
                            "certificate-authority": str(files[0]),
                        },
                    }
                ],
                "users": [{"name": "p-ann", "user": {"token": "t"}}],
            }
            (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
            (tmp_path / "password").write_text("secret\n")
            for name in ("TRAINING_CLUSTERS", "NOTEBOOK_KDCLUSTER", "EZMERAL_USER", "EZMERAL_CA"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
            monkeypatch.setenv("GATEWAY_CA", str(files[0]))
            monkeypatch.setenv("EZMERAL_PASSWORD_FILE", str(tmp_path / "password"))
            found = Shell()
            magics.load_ipython_extension(found)
            yield found


def test_attachments_lists_training_clusters_without_dashes(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.magics["line", "attachments"]("")
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0].strip() for line in lines] == ["Training Cluster", "trainingengineshared"]
    assert lines[1][-1] == "python"


def test_cell_is_shipped_and_its_logs_are_shown(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = "import os, sys\nprint(os.environ['A'], os.environ['LAB_USER'])\n"
    cell += "print('e', file=sys.stderr)"
    shell.magics["cell", "trainingengineshared"]("--name smoke --env A=5 --memory 512Mi", cell)
    printed = capsys.readouterr().out
    assert printed.startswith("History URL: http://")
    shell.magics["line", "logs"]("--follow")
    assert "5 ann" in capsys.readouterr().out
    shell.magics["line", "logs"](f"--url '{printed.strip()}'")
    assert capsys.readouterr().out.split() == ["Job", "Status:", "Finished", "5", "ann", "e"]
    assert shell.user_ns["history_url_last"] in printed


def test_arguments_and_an_included_file_make_one_program(
    shell: Shell, engine: Cluster, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "my program.py"
    program.write_text("import sys\n\n\ndef said():\n    return sys.argv[1:]\n")
    line = f"--name smoke --include '{program}' -- --depth 6 'two words' --seed=0"
    shell.magics["cell", "trainingengineshared"](line, "print(said())\n")
    program.write_text("raise SystemExit('changed after it was sent')\n")
    capsys.readouterr()
    shell.magics["line", "logs"]("--follow")
    assert "['--depth', '6', 'two words', '--seed=0']" in capsys.readouterr().out
    path = urlsplit(shell.user_ns["history_url_last"]).path
    status, code = call(f"http://{engine.pods['LoadBalancer'][0].ip}:10001{path}/code")
    assert status == 200
    assert "def said()" in str(code)
    assert "print(said())" in str(code)


def test_file_to_include_that_is_missing_is_named(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Expected a Python program to include at .*none\.py"):
        shell.magics["cell", "trainingengineshared"](f"--include {tmp_path}/none.py", "1")


def test_refused_submission_shows_the_status_line(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.magics["cell", "trainingengineshared"]("--memory much", "1")
    assert capsys.readouterr().out.startswith("HTTP/1.1 422 ")
    assert "history_url_last" not in shell.user_ns


def test_logs_without_an_address_says_how_to_give_one(shell: Shell) -> None:
    with pytest.raises(UsageError, match="--url <History URL>"):
        shell.magics["line", "logs"]("--url nonsense")


def test_logs_of_an_unknown_job_says_which_there_are(shell: Shell, engine: Cluster) -> None:
    host = engine.pods["LoadBalancer"][0].ip
    with pytest.raises(magics.TrainingUnreachable, match="There is no job 999"):
        shell.magics["line", "logs"](f"--url http://{host}:10001/history/999")


def test_extension_loads_where_there_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRAINING_CLUSTERS", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    magics.load_ipython_extension(Shell())
    assert "%attachments looks again" in capsys.readouterr().out
