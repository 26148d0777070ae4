"""Run the operator against jobs of a real workbench, deferred and blocking; write what came of it.

The tests run this file with the interpreter of the environment `airflow`, where pytest is not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.labapps.operator_run import ended, operator


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for name, key in given["cases"].items():
        for mode in ("blocking", "deferrable"):
            is_deferrable = mode == "deferrable"
            task = operator(
                given["url"], key, project=name, job="first", deferrable=is_deferrable, poll=0.2
            )
            found[f"{name}/{mode}"] = ended(task, key, run=mode)
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
