"""The Ezmeral-compatible front door."""
