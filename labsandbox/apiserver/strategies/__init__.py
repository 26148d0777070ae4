"""What the server itself decides about an object of each kind when it is written.

`prepare_create` and `prepare_update` change the new object in place: they set what clients may not
set (status, generation, allocated values) and keep what an update may not touch.
"""

from labsandbox.apiserver.strategies.prepare import prepare_create, prepare_update

__all__ = ["prepare_create", "prepare_update"]
