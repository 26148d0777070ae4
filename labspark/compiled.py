"""stumpy, compiled once on a machine and not once in each process.

stumpy's functions become machine code when they are first called: 18 seconds of a core for `stump`
alone, in every kernel and every Spark worker. `keep_compiled` lets numba keep that code in the
user's cache folder. It belongs to this machine's processor and these versions, so it is never
committed; a cache that is missing, foreign or not writable costs the seconds and changes nothing.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from labspark.place import cache

__all__ = ["keep_compiled"]

# numpy 2.4 warns at each call of a function of stumpy 1.14; what it warns of does not happen there.
NOISE = "'where' used without 'out'"


def keep_compiled(package: ModuleType, threads: int = 1) -> None:
    """Keep what numba compiles of a package; let it use so many threads, one by default.

    A function that Spark calls for each group may call this each time: a second call costs nothing.

    On short series a second thread saves nothing, and on a busy machine it waits in a loop: then
    the same call takes up to fifty times as much of a core. Many devices are done by processes.
    """
    numba: Any = importlib.import_module("numba")  # its settings have no types
    warnings.filterwarnings("ignore", message=f".*{NOISE}", category=UserWarning)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    _keep(package, cache() / "numba")


@functools.cache  # numba tries for each function whether the folder can be written: 30 ms a call
def _keep(package: ModuleType, folder: Path) -> None:
    from numba.core.dispatcher import Dispatcher

    numba: Any = importlib.import_module("numba")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _set_folder(numba, str(folder))
        for function in _functions(package, Dispatcher):
            function.enable_caching()
            _forgive(function._cache)
    except (OSError, RuntimeError):  # no folder that can be written: numba compiles anew
        return


def _forgive(kept: Any) -> None:
    """Let a function whose kept code cannot be read be compiled anew."""
    read = kept.load_overload

    def load(*words: Any) -> Any:
        try:
            return read(*words)
        except Exception:  # whatever unpickling foreign bytes raises
            kept.flush()
            return None

    kept.load_overload = load


def _set_folder(numba: Any, folder: str) -> None:
    numba.config.CACHE_DIR = folder


def _functions(package: ModuleType, kind: type) -> list[Any]:
    """Return the compiled functions of all modules of a package, each once."""
    found: dict[int, Any] = {}
    for module in pkgutil.iter_modules(package.__path__):
        try:
            names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        except ImportError:  # a module for a library that is not installed
            continue
        found |= {id(one): one for one in names.values() if isinstance(one, kind)}
    return list(found.values())
