"""Changes to objects: the four kinds of PATCH, and who owns which field afterwards.

Pure functions on dicts. Order of a write, as in a real server:
decode -> default -> `track_update` -> mutating admission -> prepare -> validate -> store.
Server-side apply: `server_side_apply` -> decode -> default -> `settle(live, result)` -> mutating
admission -> prepare -> validate -> store. On updates, call `settle(old, new)` once more before
storing, so that a write without effect keeps its resourceVersion.
Failures are `labsandbox.apiserver.status.StatusError`.
"""

from labsandbox.apiserver.patch.jsonpatch import apply_json_patch
from labsandbox.apiserver.patch.mergepatch import apply_merge_patch
from labsandbox.apiserver.patch.ownership import (
    ignored_fields,
    name_applied,
    server_side_apply,
    settle,
    track_update,
)
from labsandbox.apiserver.patch.strategic import apply_strategic

__all__ = [
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic",
    "ignored_fields",
    "name_applied",
    "server_side_apply",
    "settle",
    "track_update",
]
