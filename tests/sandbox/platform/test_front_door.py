"""The published clients against the running front door: hpecp, kubectl, the official client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from tests.sandbox.platform.program import session, until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

FOREIGN = "k8saudittenant"


def kubeconfig(env: dict[str, str], folder: Path, user: str, token: bool = False) -> Path:
    key = {"X-BDS-SESSION": session(env, user).headers["Location"]}
    answer = requests.get(
        f"{env['EZMERAL_URL']}/api/v2/k8skubeconfig" + ("?token=true" if token else ""),
        headers=key,
        verify=env["EZMERAL_CA"],
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    path = folder / f"{user}.conf"
    path.write_text(answer.text)
    return path


def kubectl(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not on this machine")
    env = os.environ | {"KUBECONFIG": str(config), "HOME": str(config.parent)}
    return subprocess.run([program, *words], capture_output=True, text=True, env=env, timeout=60)


def test_member_uses_kubectl_with_the_exec_plugin(env: dict[str, str], tmp_path: Path) -> None:
    config = kubeconfig(env, tmp_path, "student1")
    assert kubectl(config, "config", "current-context").stdout.strip().endswith("student1")
    who = kubectl(config, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert who.stdout == "student1", who.stderr
    apps = kubectl(config, "get", "kdapp", "-o", "name").stdout.split()
    assert "kubedirectorapp.kubedirector.hpe.com/training-engine" in apps


def test_plugin_fails_with_one_sentence_when_the_session_is_over(
    env: dict[str, str], tmp_path: Path
) -> None:
    config = kubeconfig(env, tmp_path, "student1")
    plugin = yaml.safe_load(config.read_text())["users"][0]["user"]["exec"]
    arguments = plugin["args"]
    given = {one["name"]: one["value"] for one in plugin["env"]}
    path = given["HPECP_SESSION"]
    gone = requests.delete(
        env["EZMERAL_URL"] + path,
        headers={"X-BDS-SESSION": path},
        verify=env["EZMERAL_CA"],
        timeout=20,
    )
    assert gone.status_code == 204
    done = subprocess.run(
        [sys.executable, "-m", "labsandbox.ezmeral.plugin", *arguments[arguments.index("hpecp") :]],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **given},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "session is over" in done.stderr


def test_signed_out_token_opens_nothing(env: dict[str, str], tmp_path: Path) -> None:
    config = kubeconfig(env, tmp_path, "student2", token=True)
    document = yaml.safe_load(config.read_text())
    server, token = (
        document["clusters"][0]["cluster"]["server"],
        document["users"][0]["user"]["token"],
    )

    def status() -> int:
        return requests.get(
            f"{server}/api/v1/namespaces/k8smltenant/pods",
            headers={"Authorization": f"Bearer {token}"},
            verify=env["EZMERAL_CA"],
            timeout=20,
        ).status_code

    assert status() == 200
    key = session(env, "student2").headers["Location"]
    # Another session of the same user does not matter; this token's own does.
    requests.delete(
        env["EZMERAL_URL"] + key,
        headers={"X-BDS-SESSION": key},
        verify=env["EZMERAL_CA"],
        timeout=20,
    )
    assert status() == 200
    sessions = requests.get(
        f"{env['EZMERAL_URL']}/api/v2/session",
        headers={"X-BDS-SESSION": session(env, "student2").headers["Location"]},
        verify=env["EZMERAL_CA"],
        timeout=20,
    )
    assert sessions.json()["user_name"] == "student2"


@pytest.mark.parametrize(
    "words",
    [
        ("get", "secrets", "-n", FOREIGN),
        ("get", "configmaps", "-A"),
        ("get", "pods", "-A", "-l", "app=x"),
        ("get", "kdcluster", "-A"),
        ("get", "--raw", f"/api/v1/namespaces/{FOREIGN}/configmaps?watch=true&timeoutSeconds=1"),
        ("get", "--raw", f"/api/v1/namespaces/{FOREIGN}/pods/x/log"),
        ("get", "nodes"),
        ("get", "namespaces"),
        ("create", "configmap", "x", "-n", FOREIGN),
        ("auth", "can-i", "--as", "admin", "get", "pods"),
    ],
)
def test_member_finds_every_other_door_shut(
    env: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = kubectl(kubeconfig(env, tmp_path, "student1"), *words)
    assert done.returncode != 0
    assert "orbidden" in done.stderr or "no" in done.stdout, done.stderr
    assert "auditor" not in done.stderr


def test_hpecp_signs_in_lists_tenants_and_fetches_the_kubeconfig(env: dict[str, str]) -> None:
    # It imports pkg_resources, which warns; what it does is what counts here.
    program = """
import json, os, warnings
warnings.simplefilter("ignore")
import configparser
configparser.SafeConfigParser = configparser.ConfigParser  # its old name, until Python 3.11
from hpecp import ContainerPlatformClient
client = ContainerPlatformClient(
    username=os.environ["WHO"], password=open(os.environ["EZMERAL_PASSWORD_FILE"]).read(),
    api_host="127.0.0.1", api_port=int(os.environ["EZMERAL_URL"].rsplit(":", 1)[1]),
    use_ssl=True, verify_ssl=os.environ["EZMERAL_CA"], tenant="/api/v1/tenant/1")
client.create_session()
print(json.dumps({
    "tenants": [tenant.name for tenant in client.tenant.list()],
    "users": [user.name for user in client.user.list()],
    "roles": [role.name for role in client.role.list()],
    "clusters": [cluster.name for cluster in client.k8s_cluster.list()],
    "kubeconfig": client.tenant.k8skubeconfig(),
    "version": client.config.get()["objects"]["bds_global_version"],
}))
"""
    import json

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | env | {"WHO": env["EZMERAL_USER"]},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["tenants"] == ["K8sMLTenant"]
    assert said["users"] == ["student1"]
    assert said["roles"] == ["Site Admin", "Admin", "Member"]
    assert said["clusters"] == ["sandbox"]
    assert yaml.safe_load(said["kubeconfig"])["kind"] == "Config"


def test_quota_of_the_tenant_is_kept(env: dict[str, str], tmp_path: Path) -> None:
    config = kubeconfig(env, tmp_path, "student1")

    def used() -> str:
        return kubectl(
            config, "get", "resourcequota", "tenant-quota", "-o", "jsonpath={.status.used.pods}"
        ).stdout

    until("the quota to be counted", lambda: used().isdigit())


def test_project_repository_of_another_tenant_is_closed_to_pods(
    env: dict[str, str], tmp_path: Path
) -> None:
    config = kubeconfig(env, tmp_path, "student1")
    theirs = Path(env["PROJECT_REPO"]).parent / FOREIGN / "secret.txt"
    theirs.write_text("not for you")
    command = f"cat {theirs}; echo mine > $PROJECT_REPO/mine.txt && echo written"
    made = kubectl(
        config, "run", "nosy", "--image=busybox", "--restart=Never", "--", "sh", "-c", command
    )
    assert made.returncode == 0, made.stderr
    try:
        until("the pod's words", lambda: kubectl(config, "logs", "nosy").stdout)
        said = kubectl(config, "logs", "nosy").stdout
        assert "not for you" not in said
        assert "denied" in said
    finally:
        kubectl(config, "delete", "pod", "nosy", "--now")
