"""Pods and pod templates."""

from labsandbox.apiserver.validation.pods.spec import (
    validate_pod_spec,
    validate_template,
)
from labsandbox.apiserver.validation.pods.updates import (
    validate_ephemeral_update,
    validate_pod_create,
    validate_pod_status_update,
    validate_pod_update,
)

__all__ = [
    "validate_ephemeral_update",
    "validate_pod_create",
    "validate_pod_spec",
    "validate_pod_status_update",
    "validate_pod_update",
    "validate_template",
]
