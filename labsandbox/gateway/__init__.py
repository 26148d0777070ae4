"""The gateway: TLS ports above 10000 in front of services."""

from labsandbox.gateway.service import GatewaySettings, run

__all__ = ["GatewaySettings", "run"]
