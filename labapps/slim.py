"""Take out of an image's packages what runs nowhere in it.

`python build/slim.py [IMPORT …]` runs inside the build, after the packages are installed and before
Spark's classes are recorded; the names are what programs import as they start, if not `STARTED`. It
removes the packages' own tests, sources of compiled code, a second copy of the Kubernetes client,
the schemas of other Kubernetes versions, programs for other machines inside jars, the symbol tables
of large libraries, and compiled modules that nothing starts with.
Standard library only; `strip` comes from Debian's binutils, and without it the libraries stay as
they are.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["is_foreign", "main", "slim"]

TESTS = frozenset({"test", "tests"})
SOURCES = frozenset({".c", ".cc", ".cpp", ".h", ".hpp", ".pxd", ".pyx", ".map"})
UNUSED = (
    "kubernetes/aio",  # the whole client again, asynchronous; nothing here imports it
    "jupyterlab/galata",  # JupyterLab's browser tests
    "pyspark/jars/connect-repl",  # the Scala shell of Spark Connect
)
UNUSED_OF_TENSORFLOW = ("clang", "tensorflow/include")  # to compile operations in C++
UNUSED_FILES = (
    "babel/locale-data/*.dat",  # but KEPT: JupyterLab asks for names of its language packs alone
    "onnxruntime/capi/libonnxruntime.so.*",  # for programs in C; Python's module has its own
    "pyarrow/*flight*",
    "pyspark/jars/spark-connect_*.jar",  # sessions here are classic ones
    "pyspark/jars/scala-compiler-*.jar",  # the Scala shell's
    "pyspark/jars/spark-repl_*.jar",
)  # fmt: skip
KEPT = re.compile(r"(root|(de|en|es|fr|it|ja|ko|nl|pl|pt|ru|tr|uk|zh)(_\w+)?)\.dat")
# What kernels, servers and jobs import as they start: compiled here, for nobody may write there
# later. Anything else is compiled when it is imported, which few programs do.
STARTED = (
    "duckdb", "folium", "geopandas", "ipykernel.kernelapp", "ipykernel.zmqshell", "ipywidgets",
    "jupyter_server.serverapp", "jupyterlab.labapp", "jupyter_lsp", "jupyter_server_proxy",
    "jupytext", "kubernetes", "matplotlib.pyplot", "mlflow", "mlflow.pyfunc", "mlflow.sklearn",
    "nbconvert.exporters", "nbval.plugin", "numba", "onnxruntime", "optuna", "pandas", "papermill",
    "papermill.execute", "psycopg", "pyarrow.dataset", "pyarrow.parquet", "pyiceberg.catalog.sql",
    "pyogrio", "pyspark.ml", "pyspark.sql.functions", "pytest", "scipy.stats", "sedonadb",
    "skl2onnx", "sklearn.calibration", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.model_selection", "sklearn.pipeline", "skops.io", "sqlalchemy.orm", "stumpy",
    "typer", "uvicorn", "websockets", "xgboost", "yaml", "aiohttp.web", "delta", "rich.console",
)  # fmt: skip
SCHEMAS, SCHEMA = "kubernetes_validate/kubernetes-json-schema", "v1.32.0-local"
JARS = "pyspark/jars"
NATIVE = re.compile(r"\.(so|dll|dylib|jnilib)$")
SYSTEMS = r"\.(dll|dylib|jnilib)$|osx|darwin|mac|win|freebsd|openbsd|aix|sunos|musl"
OTHERS = rf"{SYSTEMS}|ppc|s390|riscv|loongarch|sparc|mips|linux32|i[36]86|[/-]x86[/.]"
MACHINES = {"x86_64": r"aarch|arm", "aarch64": r"x86[_-]64|amd64|linux64\.|/linux64/"}
LARGE = 1_000_000  # bytes; a smaller library is not worth the program


def slim(site: Path) -> None:
    """Remove from a site-packages folder what no image runs."""
    for name in (*UNUSED, *UNUSED_OF_TENSORFLOW):
        shutil.rmtree(site / name, ignore_errors=True)
    for folder in sorted(site.glob("**/")):
        is_api = folder.relative_to(site).parts[:1] == ("tensorflow",)  # tf.test is for its users
        if folder.name in TESTS and folder.is_dir() and not is_api:
            shutil.rmtree(folder)
    for file in [path for path in site.rglob("*") if path.suffix in SOURCES]:
        file.unlink()
    for file in [path for pattern in UNUSED_FILES for path in site.glob(pattern)]:
        if not KEPT.fullmatch(file.name):
            file.unlink()
    for folder in sorted(site.glob("**/__pycache__")):
        shutil.rmtree(folder)
    schemas = site / SCHEMAS
    if (schemas / SCHEMA).is_dir():
        for folder in schemas.iterdir():
            if folder.name != SCHEMA:
                shutil.rmtree(folder)
    for jar in sorted((site / JARS).glob("*.jar")):
        slim_jar(jar)
    if shutil.which("strip"):
        for library in libraries(site):
            strip(library)


def is_foreign(name: str, machine: str) -> bool:
    """Tell whether a native library inside a jar, or a jar of one, is for another machine.

    >>> is_foreign("linux/aarch64/libzstd-jni.so", "x86_64")
    True
    >>> is_foreign("librocksdbjni-linux64.so", "x86_64")
    False
    """
    rule = MACHINES.get(machine)
    return rule is not None and re.search(f"{rule}|{OTHERS}", name, re.IGNORECASE) is not None


def slim_jar(jar: Path) -> None:
    """Write a jar again without the libraries of other machines."""
    machine = platform.machine()
    with zipfile.ZipFile(jar) as whole:
        entries = whole.infolist()
        native = [one for one in entries if NATIVE.search(one.filename)]
        foreign = {one.filename for one in native if is_foreign(one.filename, machine)}
        if not foreign:
            return
        if len(foreign) == len(native) and is_foreign(jar.name, machine):
            jar.unlink()
            return
        fresh = jar.with_suffix(".fresh")
        with zipfile.ZipFile(fresh, "w") as slimmer:
            for entry in entries:
                if entry.filename not in foreign:
                    slimmer.writestr(entry, whole.read(entry), entry.compress_type)
    fresh.replace(jar)


def libraries(site: Path) -> Iterator[Path]:
    """Yield large compiled modules.

    Not what auditwheel brought along (`*.libs`): it was patched, and strip may break it.
    """
    for path in sorted(site.rglob("*.so*")):
        inside = path.relative_to(site).parts[:-1]
        if path.is_symlink() or any(part.endswith(".libs") for part in inside):
            continue
        if path.stat().st_size >= LARGE:
            yield path


def strip(library: Path) -> None:
    """Remove a library's symbol table; keep the library as it was when it then does not load."""
    kept = library.with_name(library.name + ".kept")
    shutil.copy2(library, kept)
    done = subprocess.run(["strip", "--strip-unneeded", str(library)], capture_output=True)
    if done.returncode or (not loads(library) and loads(kept)):
        kept.replace(library)
    else:
        kept.unlink()


def loads(library: Path) -> bool:
    """Tell whether a library can be loaded into a Python of its own."""
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    command = [sys.executable, "-c", code, str(library)]
    return subprocess.run(command, capture_output=True).returncode == 0


def start_once(names: Sequence[str]) -> None:
    """Import what programs import as they start: Python keeps it compiled."""
    code = f"import {', '.join(names)}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False)
    if done.returncode:
        sys.exit("Expected to import after slimming what programs start with; see above.")


def main(names: Sequence[str]) -> None:
    """Slim this Python's packages and say what that gave."""
    site = Path(sysconfig.get_path("purelib"))
    before = size(site)
    slim(site)
    start_once(names or STARTED)
    print(f"{site}: {before / 1e6:.0f} MB became {size(site) / 1e6:.0f} MB")


def size(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    main(sys.argv[1:])
