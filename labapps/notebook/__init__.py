"""A learner's own Jupyter server inside the cluster."""
