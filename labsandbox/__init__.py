"""The laptop cluster: a Kubernetes-compatible API, what runs on it, and its front door."""
