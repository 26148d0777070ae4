"""The controllers: what turns workloads into pods and cleans up after them."""
