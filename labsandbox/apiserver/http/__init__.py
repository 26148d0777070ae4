"""HTTP: the connection, the request as the API sees it, what is accepted and answered."""
