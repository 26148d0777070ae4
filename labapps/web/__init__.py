"""The one HTTP layer of the applications: requests, replies, a server, an OpenAPI page."""
