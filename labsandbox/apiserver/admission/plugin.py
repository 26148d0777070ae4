"""What a plugin does when it does nothing."""

from __future__ import annotations

from labsandbox.apiserver.admission.request import Request


class Quiet:
    """A plugin that looks at some resources and by itself changes and refuses nothing."""

    keys: frozenset[str] | None = frozenset()

    async def mutate(self, request: Request) -> None:
        """Change the object."""

    async def validate(self, request: Request) -> None:
        """Refuse the object."""
