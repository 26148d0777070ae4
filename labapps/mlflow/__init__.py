"""MLflow's tracking server and model registry, one process a tenant."""
