"""Rows for kinds that describe the API server itself."""

from __future__ import annotations

from typing import Any

from labsandbox.apiserver.printers.cells import Json, at, created, items, name


def api_service_row(obj: Json) -> list[Any]:
    """The cells of an APIService."""
    service = at(obj, "spec", "service")
    shown = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = "Unknown"
    for row in items(obj, "status", "conditions"):
        if row.get("type") == "Available":
            available = str(row.get("status"))
            if available != "True":
                available = f"{available} ({row.get('reason', '')})"
    return [name(obj), shown, available, created(obj)]


def component_status_row(obj: Json) -> list[Any]:
    """The cells of a ComponentStatus."""
    status, message, error = "Unknown", "", ""
    for row in items(obj, "conditions"):
        if row.get("type") == "Healthy":
            status = "Healthy" if row.get("status") == "True" else "Unhealthy"
            message, error = str(row.get("message") or ""), str(row.get("error") or "")
            break
    return [name(obj), status, message, error]
