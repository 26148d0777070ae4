"""The training engine: a queue of jobs, and workers that run them."""
