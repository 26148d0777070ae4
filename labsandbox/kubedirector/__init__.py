"""The KubeDirector-compatible operator."""
