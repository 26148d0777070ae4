"""Attacks on a running platform, counted: every door, every trick, from every tenant."""
