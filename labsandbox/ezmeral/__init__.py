"""The Ezmeral-compatible front door: sessions, tenants, kubeconfigs.

It authenticates learners for the Kubernetes API too: the API server asks it about every bearer
token through the standard TokenReview webhook.
"""

__all__: list[str] = []
