"""Lay out the learner's home: kubeconfig, repository, clones, start-up of kernels."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

from labapps import files
from labapps.member import login
from labapps.member.configmeta import Configmeta, Secret
from labapps.member.connected import mlflow_environment, spark_environment
from labapps.member.place import Place

__all__ = ["Home"]

log = logging.getLogger(__name__)
USERNAME = "kubedirector.hpe.com/username"
# What a new kernel forgets when nothing gives it a value any more.
DISCONNECTED = (
    "SPARK_MASTER",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
)
STARTUP = Path(__file__).parent / "startup"


class Home:
    """The folder a learner works in."""

    def __init__(self, place: Place, meta: Configmeta) -> None:
        self.place = place
        self.owner = owner(meta)
        self.folder = place.path(f"/home/{self.owner or 'learner'}")
        self.environment = self.folder / ".notebook" / "environment.json"
        self.complaints: list[str] = []

    async def prepare(self, meta: Configmeta) -> list[str]:
        """Bring everything up to date; return what is wrong."""
        self.complaints = []
        for part in (".kube", ".notebook", ".ipython/profile_default/startup", "tmp"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self._kubeconfig(meta)
        self._link()
        for script in sorted(STARTUP.glob("*.py")):
            shutil.copyfile(script, self.folder / ".ipython/profile_default/startup" / script.name)
        files.replace(self.environment, json.dumps(self.connections(meta)), 0o600)
        for secret in meta.secrets("source-control"):
            await self._clone(secret)
        return self.complaints

    def connections(self, meta: Configmeta) -> dict[str, str | None]:
        """Return what kernels are told about connected clusters."""
        engines = [
            name
            for name in meta.connected_clusters()
            if meta.config_metadata(name).get("ml_engine")
        ]
        env: dict[str, str | None] = dict.fromkeys(DISCONNECTED)
        env |= spark_environment(meta, self.place, self.folder / ".notebook")
        env |= mlflow_environment(meta, self.folder / ".notebook")
        env |= self._platform(meta)
        env["NOTEBOOK_KDCLUSTER"] = meta.cluster
        env["TRAINING_CLUSTERS"] = ",".join(engines)
        return env

    def _platform(self, meta: Configmeta) -> dict[str, str]:
        """Return where the platform is and who the owner is, as the labs ask for it."""
        found = login.find(meta)
        if found is None or not self.owner:
            return {}
        ca = self.folder / ".notebook" / "platform-ca.crt"
        files.replace(ca, found.ca)
        return {
            "EZMERAL_URL": found.url,
            "EZMERAL_CA": str(ca),
            "EZMERAL_TENANT": found.tenant,
            "EZMERAL_USER": self.owner,
        }

    def connections_set(self, meta: Configmeta) -> dict[str, str]:
        """Return the connections that have a value."""
        return {k: v for k, v in self.connections(meta).items() if v is not None}

    def server_environment(self, meta: Configmeta) -> dict[str, str]:
        """Return the environment of the Jupyter server."""
        programs = str(Path(sys.executable).parent)
        return {
            "NOTEBOOK_PROGRAMS": programs,  # terminal.bashrc puts them first
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "KUBECONFIG": str(self.folder / ".kube/config"),
            "IPYTHONDIR": str(self.folder / ".ipython"),
            "JUPYTER_CONFIG_DIR": str(self.folder / ".jupyter"),
            "JUPYTER_CONFIG_PATH": str(Path(__file__).with_name("lab")),  # no question about news
            "JUPYTER_DATA_DIR": str(self.folder / ".local/share/jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / ".local/share/jupyter/runtime"),
            "JUPYTER_TOKEN": self.token(meta),
            "NOTEBOOK_ENVIRONMENT": str(self.environment),
            "NOTEBOOK_OWNER": self.owner,
            "PROJECT_REPO": str(self.place.repository),
        }

    def token(self, meta: Configmeta) -> str:
        """Return the token that opens this notebook."""
        tokens = sorted(meta.tokens())
        if tokens:
            return tokens[0]
        if os.environ.get("JUPYTER_TOKEN"):
            return os.environ["JUPYTER_TOKEN"]
        path = self.folder / ".notebook" / "token"
        if not path.exists():
            files.replace(path, secrets.token_hex(16), 0o600)
            log.info("No token came with the cluster; a new one is in %s", path)
        return path.read_text()

    def _kubeconfig(self, meta: Configmeta) -> None:
        """Write the kubeconfig of the connected Secret; keep what the learner has otherwise."""
        for secret in meta.secrets("kubeconfig"):
            text = secret.data.get("config", "")
            if "apiVersion" in text:
                files.replace(self.folder / ".kube/config", text, 0o600)
                return
            self.complaints.append(
                f"Secret {secret.name}: expected a kubeconfig in key config; found none."
            )

    def _link(self) -> None:
        link = self.folder / "project_repo"
        if not link.is_symlink() and not link.exists():
            link.symlink_to(self.place.repository)

    async def _clone(self, secret: Secret) -> None:
        """Clone the repository of a source-control Secret once, and tell git who works here."""
        url = secret.data.get("repoURL", "")
        name = re.sub(r"[^A-Za-z0-9._-]", "-", secret.name)
        target = self.place.path(f"/source_control/{name}")
        if not url:
            self.complaints.append(f"Secret {name}: expected the key repoURL; found none.")
            return
        if (target / ".git").exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        branch = secret.data.get("branch", "")
        arguments = ["clone", *(["--branch", branch] if branch else []), url, str(target)]
        error = await self._git(secret, arguments)
        if error:
            self.complaints.append(f"Secret {name}: the repository was not cloned: {error}")
            return
        user = secret.data.get("username") or self.owner or "learner"
        email = secret.data.get("email") or f"{user}@example.invalid"
        own = {"user.name": user, "user.email": email, **self._access(secret)}
        for key, value in own.items():
            await self._git(secret, ["-C", str(target), "config", key, value])
        link = self.folder / name
        if not link.exists():
            link.symlink_to(target)

    def _credential(self, secret: Secret) -> Path:
        """Write what git asks for; the token is in no URL, no argument and no .git/config."""
        name = re.sub(r"[^A-Za-z0-9._-]", "-", secret.name)
        path = self.folder / ".notebook" / f"credential-{name}"
        user = secret.data.get("username", "")
        token = secret.data.get("token") or secret.data.get("password", "")
        files.replace(path, f"username={user}\npassword={token}\n", 0o600)
        return path

    def _access(self, secret: Secret) -> dict[str, str]:
        """Return git's settings for the server: who asks, and which certificate to trust."""
        found = {"credential.helper": f"!cat '{self._credential(secret)}' #"}
        if secret.data.get("ca.crt"):
            name = re.sub(r"[^A-Za-z0-9._-]", "-", secret.name)
            path = self.folder / ".notebook" / f"ca-{name}.crt"
            files.replace(path, secret.data["ca.crt"])
            found["http.sslCAInfo"] = str(path)
        return found

    async def _git(self, secret: Secret, arguments: list[str]) -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            *(
                word
                for key, value in self._access(secret).items()
                for word in ("-c", f"{key}={value}")
            ),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "HOME": str(self.folder)},
        )
        try:
            _, err = await asyncio.wait_for(process.communicate(), 120)
        except TimeoutError:
            process.kill()
            return "no answer within 120 s"
        return "" if process.returncode == 0 else err.decode("utf-8", "replace").strip()


def owner(meta: Configmeta) -> str:
    """Return whose notebook this is: the name on the connected kubeconfig Secret."""
    for secret in meta.secrets("kubeconfig"):
        name = secret.labels.get(USERNAME, "")
        if re.fullmatch(r"[A-Za-z0-9._-]+", name):
            return name
    return ""
