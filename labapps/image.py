"""Make the container of an application from its `catalog/<application>/image.toml`.

`python labapps/image.py commands` prints, for each application, the command that builds its image.
`python labapps/image.py make image.toml` runs inside the build: it installs what the file names and
writes the program that the container starts. Standard library only.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

__all__ = ["commands", "program", "steps"]

START = Path("/opt/labs/start")
LEARNER = "labs/learner:1.0"
ENVIRONMENTS = Path("/opt/environments")
# git brings all of perl for commands that nobody types here; Debian itself needs perl-base alone.
# dpkg heeds this in a file, not among its words.
PLAIN = (
    "printf 'path-exclude=/usr/%s/*\\n' share/perl 'lib/*/perl' > /etc/dpkg/dpkg.cfg.d/without-perl"
)
CLEAN = ["sh", "-c", "rm -rf /var/lib/apt/lists/*"]
NAMED = re.compile(r"\{python:([a-z0-9][a-z0-9-]*)\}")


def commands(catalog: Path) -> list[str]:
    """Return the commands that build the images of a catalogue, and the learner's."""
    build = ["docker", "build", "-f", "labapps/Containerfile"]
    found = []
    for file in sorted(catalog.glob("*/image.toml")):
        image = tomllib.loads(file.read_text("utf-8"))
        target = "lean" if "wheels" in image else "application"
        words = ["--target", target, "--build-arg", f"APP={file.parent.name}"]
        found.append([*build, *words, "-t", str(image["name"]), "."])
    found.append([*build, "--target", "learner", "-t", LEARNER, "."])
    return [shlex.join(words) for words in found]


def steps(image: dict[str, Any]) -> list[list[str]]:
    """Return what is installed beside the common layers.

    >>> steps({"debian": ["git"]})[2]
    ['apt-get', 'install', '--yes', '--no-install-recommends', 'git']
    """
    packages = [str(name) for name in image.get("debian", [])]
    found = _apt(*packages) if packages else []
    words = [*image.get("command", []), *image.get("env", {}).values()]
    for name in dict.fromkeys(NAMED.findall(" ".join(map(str, words)))):
        folder = ENVIRONMENTS / name
        pip = [str(folder / "bin" / "pip"), "install", "--no-cache-dir", "--no-deps"]
        lock = f"environments/{name}.lock"
        found += [["python", "-m", "venv", str(folder)]]
        found += [[*pip, "--require-hashes", "-r", lock]]
        if starts := image.get("starts", []):
            found += [*_apt("binutils")[1:-1]]  # for `strip`
            found += [[str(folder / "bin" / "python"), "labapps/slim.py", *starts]]
            found += [["apt-get", "purge", "--yes", "--auto-remove", "binutils"], CLEAN]
    return found


def _apt(*packages: str) -> list[list[str]]:
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    return [["sh", "-c", PLAIN], ["apt-get", "update"], install, CLEAN]


def program(image: dict[str, Any]) -> str:
    """Return the program that the container starts; its arguments are the container's.

    >>> print(program({"command": ["{python}", "-m", "app"], "env": {"A": "b c"}}), end="")
    #!/bin/sh
    export A='b c'
    exec python -m app "$@"
    """
    lines = ["#!/bin/sh"]
    variables = {**image.get("env", {}), **image.get("container_env", {})}
    lines += [f"export {key}={shlex.quote(_named(value))}" for key, value in variables.items()]
    words = [_named(word).replace("{python}", "python") for word in image["command"]]
    return "\n".join([*lines, f'exec {shlex.join(words)} "$@"', ""])


def _named(word: object) -> str:
    """Fill in the interpreters of named environments.

    >>> _named("h2o={python:h2o}")
    'h2o=/opt/environments/h2o/bin/python'
    """
    return NAMED.sub(rf"{ENVIRONMENTS}/\1/bin/python", str(word))


def make(file: Path, start: Path) -> None:
    """Install what an image.toml names, and write its program."""
    image = tomllib.loads(file.read_text("utf-8"))
    for step in steps(image):
        subprocess.run(step, check=True)
    start.write_text(program(image), encoding="utf-8")
    start.chmod(0o755)


if __name__ == "__main__":
    if sys.argv[1:] == ["commands"]:
        print("\n".join(commands(Path(__file__).resolve().parents[1] / "catalog")))
    elif len(sys.argv) == 3 and sys.argv[1] == "make":
        make(Path(sys.argv[2]), START)
    else:
        sys.exit("Expected `commands` or `make image.toml`; see the head of labapps/image.py.")
