"""Judge a KubeDirectorApp, and fold its defaults into its roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labsandbox import quantity
from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector.admission.verdict import Request, Verdict, is_same
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import DEFAULT_LOG_SIZE, Object

# Property of a role: property of the app it defaults to.
_DEFAULTS = {
    "configPackage": "defaultConfigPackage",
    "imageRepoTag": "defaultImageRepoTag",
    "persistDirs": "defaultPersistDirs",
    "eventList": "defaultEventList",
    "maxLogSizeDump": "defaultMaxLogSizeDump",
}


def judge_app(request: Request, world: World) -> Verdict:
    """Return the verdict on an app that is created, changed or deleted."""
    verdict = Verdict()
    in_use = (
        "KubeDirectorApp resource cannot be deleted or modified while referenced by the following "
        f"KubeDirectorCluster resources: {', '.join(world.app_users)}"
    )
    if request.operation == "DELETE":
        return verdict.refuse(in_use) if world.app_users else verdict
    app = request.obj
    role_ids = [role["id"] for role in apps.roles(app)]
    service_ids = [service["id"] for service in apps.services(app)]
    _check_unique(app, role_ids, service_ids, verdict)
    _check_references(app, role_ids, service_ids, verdict)
    _fold_defaults(app, verdict)
    for service in apps.services(app):
        endpoint = service.get("endpoint") or {}
        if endpoint.get("isDashboard") and not endpoint.get("urlScheme"):
            verdict.refuse(
                f"The endpoint for service({service['id']}) must include a urlScheme value "
                "because isDashboard is true."
            )
    changed = request.operation == "UPDATE" and not is_same(app["spec"], request.old["spec"])
    if changed and world.app_users:
        return Verdict([in_use])
    return verdict


def _check_unique(
    app: Object, role_ids: list[str], service_ids: list[str], verdict: Verdict
) -> None:
    config = app["spec"]["config"]
    if _repeats(role_ids):
        verdict.refuse("Each id in the roles array must be unique.")
    if _repeats(service_ids):
        verdict.refuse("Each id in the services array must be unique.")
    if _repeats(config.get("selectedRoles") or []):
        verdict.refuse("Each element of selectedRoles array in config section must be unique.")
    if _repeats([pair["roleID"] for pair in config.get("roleServices") or []]):
        verdict.refuse("Each roleID in roleServices array in config section must be unique.")


def _check_references(
    app: Object, role_ids: list[str], service_ids: list[str], verdict: Verdict
) -> None:
    config = app["spec"]["config"]
    valid_roles, valid_services = ",".join(role_ids), ",".join(service_ids)
    for pair in config.get("roleServices") or []:
        if pair["roleID"] not in role_ids:
            verdict.refuse(
                f"Invalid roleID({pair['roleID']}) in roleServices array in config section. "
                f'Valid roles: "{valid_roles}"'
            )
        for service_id in pair["serviceIDs"]:
            if service_id not in service_ids:
                verdict.refuse(
                    f"Invalid service_id({service_id}) in roleServices array in config section. "
                    f'Valid services: "{valid_services}"'
                )
    for selected in config.get("selectedRoles") or []:
        if selected not in role_ids:
            verdict.refuse(
                f"Invalid element({selected}) in selectedRoles array in config section. "
                f'Valid roles: "{valid_roles}"'
            )


def _fold_defaults(app: Object, verdict: Verdict) -> None:
    """Move the app's defaults into its roles, in the object and as patches."""
    spec = app["spec"]
    defaults: dict[str, Any] = {"maxLogSizeDump": DEFAULT_LOG_SIZE, "configPackage": None}
    for name, default in _DEFAULTS.items():
        if default in spec:
            value = spec.pop(default)
            verdict.patch("remove", f"/spec/{default}")
            if value is not None:
                defaults[name] = value
    for index, role in enumerate(apps.roles(app)):
        _check_role(role, verdict)
        for name in _DEFAULTS:
            # configPackage: null means "none" and is kept; the others know no null.
            if name in role and (role[name] is not None or name == "configPackage"):
                continue
            if name not in defaults:
                continue
            role[name] = defaults[name]
            verdict.patch("add", f"/spec/roles/{index}/{name}", defaults[name])
        if not role.get("imageRepoTag"):
            verdict.refuse(
                f"Role({role['id']}) has no specified image, and no top-level default image is "
                "specified."
            )


def _check_role(role: Object, verdict: Verdict) -> None:
    if role.get("minStorage"):
        try:
            quantity.amount(role["minStorage"]["size"])
        except ValueError:
            verdict.refuse(f"Minimum storage size for role ({role['id']}) is incorrectly defined.")
    terminal = role.get("containerSpec") or {}
    if terminal.get("tty") and not terminal.get("stdin"):
        verdict.refuse(f"Role({role['id']}) requested TTY without STDIN.")


def _repeats(values: Sequence[str]) -> bool:
    return len(set(values)) != len(values)
