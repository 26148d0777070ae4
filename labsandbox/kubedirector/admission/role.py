"""Judge the roles of a kdcluster: members, accounts, files and secrets."""

from __future__ import annotations

from labsandbox.kubedirector import app as apps
from labsandbox.kubedirector import secretkey
from labsandbox.kubedirector.admission.marks import check_marks
from labsandbox.kubedirector.admission.verdict import Verdict
from labsandbox.kubedirector.admission.world import World
from labsandbox.kubedirector.model import MAX_MEMBERS, Object, roles_of


def check_cardinality(cluster: Object, app: Object, verdict: Verdict) -> None:
    """Check member counts against the app, and fill in the missing ones."""
    total, is_fine = 0, True
    patches: list[tuple[str, int]] = []
    for index, role in enumerate(roles_of(cluster)):
        app_role = apps.role(app, role["id"])
        if app_role is None:
            continue  # check_roles reports it
        least, may_grow = apps.cardinality(app_role)
        members = role.get("members")
        if members is None:
            members = role["members"] = least
            patches.append((f"/spec/roles/{index}/members", least))
        elif members < least or (members != least and not may_grow):
            is_fine = False
            verdict.refuse(
                f"Invalid member count for role({role['id']}). Specified member count:{members} "
                f"Role cardinality:{app_role['cardinality']}"
            )
        total += members
        if total > MAX_MEMBERS:
            is_fine = False
            verdict.refuse(
                f"Maximum number of total members per KD cluster supported is {MAX_MEMBERS}."
            )
            break
        is_fine = check_marks(f"spec.roles[{index}]", role, verdict) and is_fine
    for path, least in patches if is_fine else []:
        verdict.patch("add", path, least)


def check_roles(cluster: Object, app: Object, verdict: Verdict) -> None:
    """Check that the roles exist, are named once, and that no active one is missing."""
    name = app["metadata"]["name"]
    valid = [role["id"] for role in apps.roles(app)]
    given = [role["id"] for role in roles_of(cluster)]
    for role_id in given:
        if role_id not in valid:
            verdict.refuse(
                f"Invalid role({role_id}) in app({name}) specified. "
                f'Valid roles: "{",".join(valid)}"'
            )
    if len(set(given)) != len(given):
        verdict.refuse("Each id in the roles array must be unique.")
    for role_id in apps.selected_roles(app):
        app_role = apps.role(app, role_id)
        if role_id not in given and app_role and apps.cardinality(app_role)[0] > 0:
            verdict.refuse(
                f"Active role({role_id}) in app({name}) must have its configuration included in "
                "the roles array."
            )


def check_service_accounts(cluster: Object, world: World, user: Object, verdict: Verdict) -> None:
    """Check that the service accounts exist and that the user may see them."""
    for role in roles_of(cluster):
        account = role.get("serviceAccountName")
        if not account:
            continue
        if account not in world.service_accounts:
            verdict.refuse(
                f"service account {account} requested by role {role['id']} does not exist"
            )
        elif ("serviceaccounts", account) in world.denied:
            verdict.refuse(
                f"service account {account} requested by role {role['id']} is not accessible to "
                f'user "{user.get("username", "")}"'
            )


def check_file_injections(cluster: Object, world: World, verdict: Verdict) -> None:
    """Check that files to inject can be fetched."""
    for role in roles_of(cluster):
        for injection in role.get("fileInjections") or []:
            url = injection["srcURL"]
            if url in world.unreachable:
                verdict.refuse(
                    f'Unable to access the specified URL("{url}") in file injection spec for the '
                    f"role ({role['id']}). error: {world.unreachable[url]}."
                )


def check_secrets(cluster: Object, world: World, verdict: Verdict) -> None:
    """Check the secrets to mount, and give roles without one the default secret."""
    prefix = world.settings.secret_prefix
    namespace = cluster["metadata"].get("namespace", "")
    default = cluster["spec"].get("defaultSecret")
    if default:
        name = default["name"]
        if not name.startswith(prefix):
            verdict.refuse(
                f"defaultSecret({name}) does not have the required name prefix({prefix})."
            )
            return
        if name not in world.secrets:
            verdict.refuse(f"Unable to find defaultSecret({name}) in namespace({namespace}).")
            return
    for index, role in enumerate(roles_of(cluster)):
        secret = role.get("secret")
        if secret:
            name = secret["name"]
            if not name.startswith(prefix):
                verdict.refuse(
                    f"Secret({name}) for role({role['id']}) does not have the required name "
                    f"prefix({prefix})."
                )
            elif name not in world.secrets:
                verdict.refuse(
                    f"Unable to find secret({name}) for role({role['id']}) in "
                    f"namespace({namespace})."
                )
        elif default:
            role["secret"] = default
            verdict.patch("add", f"/spec/roles/{index}/secret", default)


def check_secret_keys(cluster: Object, old: Object, world: World, verdict: Verdict) -> None:
    """Encrypt the values of secret keys; no user writes an encrypted value."""
    before = {
        (role["id"], key["name"]): key.get("encryptedValue")
        for role in (roles_of(old) if old else [])
        for key in role.get("secretKeys") or []
    }
    for index, role in enumerate(roles_of(cluster)):
        for place, key in enumerate(role.get("secretKeys") or []):
            name, known = key["name"], before.get((role["id"], key["name"]))
            if not key.get("value") and key.get("encryptedValue"):
                if key["encryptedValue"] != known:
                    verdict.refuse(
                        f"manually setting secret key ({name}) encrypted value is forbidden"
                    )
                continue
            try:
                encrypted = _encrypt(key.get("value") or "", known, world.settings.master_key)
            except secretkey.SecretKeyError as error:
                verdict.refuse(f"cannot encrypt secret key {name}: {error}")
                continue
            made = {"name": name, "encryptedValue": encrypted}
            role["secretKeys"][place] = made
            verdict.patch("replace", f"/spec/roles/{index}/secretKeys/{place}", made)


def _encrypt(value: str, known: str | None, master_key: str) -> str:
    """Encrypt a value; one that did not change keeps its form, so the role did not change."""
    if known:
        try:
            if secretkey.decrypt(known, master_key) == value:
                return known
        except secretkey.SecretKeyError:
            pass
    return secretkey.encrypt(value, master_key)
