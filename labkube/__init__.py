"""A learner's way to the cluster: the kubeconfig, a connection, what annotations say. A leaf."""
