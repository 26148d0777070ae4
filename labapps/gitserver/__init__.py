"""A git server: `git http-backend` behind the token of its cluster."""
