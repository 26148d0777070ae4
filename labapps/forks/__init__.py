"""Processes that are ready in milliseconds: forked with the big libraries already imported."""
