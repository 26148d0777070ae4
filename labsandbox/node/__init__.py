"""The node agent: turns pods into supervised processes."""
