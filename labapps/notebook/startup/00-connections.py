"""Bring a new kernel up to date: what is connected may have changed since the server started."""

import json as _json
import os as _os
from pathlib import Path as _Path

_file = _Path(_os.environ.get("NOTEBOOK_ENVIRONMENT", "/nonexistent"))
if _file.is_file():
    for _key, _value in _json.loads(_file.read_text()).items():
        if _value is None:
            _os.environ.pop(_key, None)
        else:
            _os.environ[_key] = _value
try:
    from IPython import get_ipython as _shell

    _shell().run_line_magic("load_ext", "labhelpers.magics")
except ImportError:
    print("The magics of labhelpers are not installed here.")
