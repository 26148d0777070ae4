"""JupyterHub as a class on one host runs it: patient with its services, and without leftovers.

JupyterHub ends when a service does not answer within ten seconds of its start. That is little for a
host on which thirty people have just arrived. A service that ended is still noticed at once.

For each proxy that died and was replaced, JupyterHub has one more timer that looks whether the
proxy runs, and in the end stops only the newest. Another could start the proxy again while the hub
ends, and leave it behind.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.objects import Server
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.utils import AnyTimeoutError
from traitlets import default

__all__ = ["ClassHub", "ClassProxy"]

PATIENCE, ATTEMPT = 180.0, 5.0
"""Seconds that a service may take to answer for the first time, and that one question may take."""


class ClassProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """The hub's proxy, which stays down once it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True
        super().stop()

    async def check_running(self) -> None:
        """Replace a proxy that died, unless the hub ends."""
        if not self.stopped:
            await super().check_running()


class ClassHub(JupyterHub):  # type: ignore[misc]  # jupyterhub has no types
    """JupyterHub, with time for services that start on a busy host."""

    name = "jupyterhub"  # its class name would change where its settings are looked for

    @default("proxy_class")
    def _class_proxy(self) -> type[ClassProxy]:
        return ClassProxy

    async def start_service(
        self, service_name: str, service: Any, ssl_context: ssl.SSLContext | None = None
    ) -> bool:
        """Start a service of our own and wait for its first answer; say whether it came."""
        if not (service.managed and service.url):
            return bool(await super().start_service(service_name, service, ssl_context))
        self.log.info("Starting managed service %s at %s", service_name, service.url)
        try:
            await service.start()
        except Exception:
            self.log.critical("Failed to start service %s", service_name, exc_info=True)
            return False
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                server = Server.from_orm(service.orm.server)
                await server.wait_up(http=True, timeout=ATTEMPT, ssl_context=ssl_context)
            except AnyTimeoutError:
                status = await service.spawner.poll()
                if status is not None:
                    self.log.critical("Service %s exited with status %s", service_name, status)
                    return False
            else:
                return True
        self.log.critical("Service %s did not answer within %.0f s", service_name, PATIENCE)
        return False


if __name__ == "__main__":
    ClassHub.launch_instance()
