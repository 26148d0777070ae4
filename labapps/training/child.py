"""Inside a job's process: limits, folder, environment; then the learner's program."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

from labapps.forks import source
from labapps.forks.script import execute, take_output

__all__ = ["run"]

# A zygote's own pages and the libraries' buffers; the watcher measures the job exactly.
HEADROOM = 1 << 30


def run(args: dict[str, Any], fds: list[int]) -> int:
    """Run the program in the job's folder and leave its exit code in the third descriptor."""
    result = fds[2]
    take_output(fds[0], fds[1])
    folder = Path(args["folder"])
    os.chdir(folder)
    os.nice(5)  # learners at their notebooks come first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = args["memory"] + HEADROOM
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    threads = str(max(1, int(args["cpu"])))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    os.environ.update(args["env"])
    script = folder / "code.py"
    sys.argv = [str(script), *args["args"]]
    sys.path.insert(0, str(folder))
    program = script.read_bytes()
    expected = args["code_digest"]
    if expected and hashlib.sha256(program).hexdigest() != expected:
        # The folder lies on the shared repository, and a job may wait for hours.
        sys.stderr.write(
            "Expected code.py as it was submitted; found another file in the job's folder. Nothing "
            "was run: submit the job again.\n"
        )
        os.pwrite(result, b"1", 0)
        return 1
    try:
        code = source.compile_source(program, str(script), args["mappings"])
    except SyntaxError as error:
        sys.stderr.write(f'  File "code.py", line {error.lineno}\nSyntaxError: {error.msg}\n')
        status = 1
    else:
        status = execute(code, str(script), lines=True)
    os.pwrite(result, str(status).encode(), 0)
    return status
