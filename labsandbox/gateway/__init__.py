"""The gateway: TLS ports above 10000 in front of services."""
