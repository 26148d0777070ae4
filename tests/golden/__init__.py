"""Replays recorded exchanges of a real kube-apiserver against a server and scores the answers."""
