"""Watches: every change is serialised once and written to all who wait for it."""
