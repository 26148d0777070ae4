"""Answers for people: `Table` with the columns of `kubectl get`, and `PartialObjectMetadata`."""

from labsandbox.apiserver.printers.table import partial, table

__all__ = ["partial", "table"]
