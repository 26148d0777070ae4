"""Which kinds the server knows, as data: one row per resource in ``builtin.json``.

The rows are what a kube-apiserver 1.32 says in its aggregated discovery. Behaviour that differs
from kind to kind hangs on the row (`ResourceDef`), so the machinery never asks for a kind by name
where a property says it better. Nine kinds that nothing here asks for are apart, in ``rare``.
"""

from labsandbox.apiserver.registry.catalog import Catalog
from labsandbox.apiserver.registry.resource import ResourceDef, Subresource

__all__ = ["Catalog", "ResourceDef", "Subresource"]
