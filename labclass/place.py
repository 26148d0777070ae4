"""Where a class finds its platform, and which settings of it each learner gets.

A platform is described by NAME=value lines, as `labsandbox env` prints them. Of a real platform's
file, `{user}`, `{tenant}` and `{namespace}` in a value stand for the learner's own.
"""

from __future__ import annotations

import csv
import getpass
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from labclass.roster import BadClass, Person
from labrunner import sandbox
from labrunner.errors import PlatformFailed

ADMIN, ADMIN_FILE = "EZMERAL_ADMIN_USER", "EZMERAL_ADMIN_PASSWORD_FILE"
STATE = "LABSANDBOX_STATE"
_NEEDED = ("EZMERAL_URL", "EZMERAL_CA")
# What labs read, and how the laptop platform makes its names resolve.
_OF_LABS = ("EZMERAL_", "GATEWAY_", "SPARK_", "PROJECT_REPO", "JDK_JAVA_OPTIONS", "CURL_HOME")
_NEVER = ("PASSWORD", "TOKEN", "SECRET", "ADMIN")


def of_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the settings of the platform that the environment names."""
    names = (*_OF_LABS, STATE, "PYTHONPATH")
    return {name: value for name, value in environment.items() if name.startswith(names)}


def check(settings: Mapping[str, str]) -> None:
    """Refuse settings that do not lead to a platform."""
    for name in _NEEDED:
        if not settings.get(name):
            raise PlatformFailed(
                f"Expected {name} among the platform's settings, found {sorted(settings)}. "
                "Type `labsandbox env` to see what such a file holds."
            )
    if not Path(settings["EZMERAL_CA"]).is_file():
        raise PlatformFailed(
            f"Expected the platform's certificate at EZMERAL_CA={settings['EZMERAL_CA']}, found "
            "no such file. Correct the path, or start that platform once."
        )


def administrator(settings: Mapping[str, str]) -> tuple[str, str]:
    """Return the site administrator's name and password."""
    name = settings.get(ADMIN) or os.environ.get(ADMIN) or "admin"
    file = settings.get(ADMIN_FILE) or os.environ.get(ADMIN_FILE)
    if file:
        try:
            return name, Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise PlatformFailed(
                f"Expected the password of {name} in the file that {ADMIN_FILE} names, found: "
                f"{error}. Correct the name of the file."
            ) from error
    if known := passwords(settings).get(name):
        return name, known
    if sys.stdin.isatty():
        return name, getpass.getpass(f"Password of {name} at {settings['EZMERAL_URL']}: ")
    raise PlatformFailed(
        f"Expected the password of the platform's administrator {name!r}, found none. Write it "
        f"into a file that only you can read and name that file: {ADMIN_FILE}=…, in the "
        f"environment or among the platform's settings ({ADMIN}=… when the name is another)."
    )


def passwords(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the passwords on a laptop platform's own sheet; none for a real platform."""
    if not settings.get(STATE):
        return {}
    try:
        with (Path(settings[STATE]) / "credentials.csv").open(encoding="utf-8") as sheet:
            return {row["user"]: row["password"] for row in csv.DictReader(sheet)}
    except (OSError, KeyError):
        return {}


def of_learner(
    settings: Mapping[str, str], person: Person, home: Path, spaces: Mapping[str, str]
) -> dict[str, str]:
    """Return one learner's settings: no password, nobody else's place."""
    found = {
        name: _filled(value, person)
        for name, value in settings.items()
        if name.startswith(_OF_LABS) and not any(word in name for word in _NEVER)
    }
    found["EZMERAL_USER"], found["EZMERAL_TENANT"] = person.name, person.tenant
    found["KUBECONFIG"] = str(home / ".kube" / "config")
    found.setdefault("GATEWAY_CA", settings["EZMERAL_CA"])
    if "PROJECT_REPO" in found:
        found["PROJECT_REPO"] = _repository(settings, person, spaces)
    # The hook for cluster names alone; whatever else is on the path is the hub's business.
    resolver = settings.get("CURL_HOME")
    if resolver and resolver in settings.get("PYTHONPATH", "").split(os.pathsep):
        found["PYTHONPATH"] = resolver
    return found


def _filled(value: str, person: Person) -> str:
    parts = {"user": person.name, "tenant": person.tenant, "namespace": person.namespace}
    for name, part in parts.items():
        value = value.replace(f"{{{name}}}", part)
    return value


def _repository(settings: Mapping[str, str], person: Person, spaces: Mapping[str, str]) -> str:
    """Return the learner's project repository: the sibling named after the namespace, if so named.

    >>> zoe = Person("zoe", "x", "Team-zoe", namespace="team-zoe")
    >>> of = {"EZMERAL_TENANT": "K8sMLTenant", "PROJECT_REPO": "/p/k8smltenant"}
    >>> _repository(of, zoe, {"K8sMLTenant": "k8smltenant"})
    '/p/team-zoe'
    >>> _repository({"PROJECT_REPO": "/mnt/{namespace}"}, zoe, {})
    '/mnt/team-zoe'
    """
    given = settings["PROJECT_REPO"]
    path = Path(given)
    if path.name == spaces.get(settings.get("EZMERAL_TENANT", "")):
        return str(path.with_name(person.namespace))
    return _filled(given, person)


def as_lines(settings: Mapping[str, str]) -> str:
    """Return settings as NAME=value lines."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(settings.items()))


def of_file(file: Path) -> dict[str, str]:
    """Return the settings in a platform's file."""
    return sandbox.settings_of(file)


def check_same(known: Mapping[str, str], url: str, is_own: bool, folder: Path) -> None:
    """Refuse a class folder that belongs to another platform."""
    before = known.get("url")
    if not before or (is_own and known.get("own")) or (before == url and not is_own):
        return
    other = "a platform of its own" if known.get("own") else before
    this = "a platform of its own" if is_own else url
    raise BadClass(
        f"Expected the platform of the class in {folder}, {other}, found {this}. "
        "Type `labs class --folder` with another name for a class on another platform."
    )
