"""A small asynchronous Kubernetes client for the platform's own components.

Why not the official client: it is synchronous, takes a second to import and 60 MB to hold, and the
whole platform has 150 MB. What is here is what the components call, nothing else.
"""

from labsandbox.client.api import Client, Object
from labsandbox.client.errors import ApiError, ClientError, KubeconfigError
from labsandbox.client.exec import ExecResult
from labsandbox.client.informer import Informer, key_of
from labsandbox.client.resources import Resource
from labsandbox.client.writes import create_or_merge, create_or_replace

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "ExecResult",
    "Informer",
    "KubeconfigError",
    "Object",
    "Resource",
    "create_or_merge",
    "create_or_replace",
    "key_of",
]
