"""A KubeDirector-compatible operator: kdclusters become StatefulSets, services and set-up members.

It is a client of the Kubernetes API like any other, so it runs against a real API server too.
Start with README.md in this folder; `operator.run` is the way in.
"""
