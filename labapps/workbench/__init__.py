"""Projects, jobs, models, deployments and metrics over REST, on Kubernetes objects."""
