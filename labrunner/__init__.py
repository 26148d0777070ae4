"""Build, check and replay the labs; the `labs` command."""
