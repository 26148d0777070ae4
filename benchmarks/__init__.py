"""Ratios against a peer or a limit, each measured in one run: `make bench`, `make bench NAME=…`."""
