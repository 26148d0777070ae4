"""Fill an empty platform: users, tenants, the catalogue, the shared training cluster."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stamina

from labsandbox.catalogue import Catalogue
from labsandbox.client import ApiError, Client, Resource
from labsandbox.client import resources as res
from labsandbox.ezmeral import passwords, tenants
from labsandbox.ezmeral.accounts import Accounts, Tenant
from labsandbox.files import write_private
from labsandbox.state import State

TENANT = "K8sMLTenant"
OTHER_TENANT = "K8sAuditTenant"
INSTRUCTOR = "instructor"
_AUTH_SECRET = "hpecp-ext-auth-secret"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the platform starts with."""

    name: str
    tenant: str | None
    role: int


def people(students: int) -> list[Person]:
    """Return who gets an account: administrators, the students, and one stranger."""
    return [
        Person("admin", None, 1),
        Person(INSTRUCTOR, TENANT, 2),
        *(Person(f"student{number}", TENANT, 3) for number in range(1, students + 1)),
        # Somebody else's tenant: its shut door is part of the first lab.
        Person("auditor", OTHER_TENANT, 3),
    ]


def quota(students: int) -> dict[str, str]:
    """Return a tenant's quota: room for a whole workshop per student, and an end to it."""
    return {
        "pods": str(20 + 15 * students),
        "services": str(30 + 20 * students),
        "persistentvolumeclaims": str(10 + 5 * students),
        "count/kubedirectorclusters.kubedirector.hpe.com": str(5 + 5 * students),
    }


async def create_accounts(state: State, accounts: Accounts, students: int) -> None:
    """Create the accounts that are missing and note their passwords on the sheet."""
    for name in (TENANT, OTHER_TENANT):
        if name not in {tenant.name for tenant in accounts.tenants()}:
            accounts.add_tenant(name)
    for person in people(students):
        # To hash a password takes a while, thirty of them longer than a loop may stand still.
        await asyncio.sleep(0)
        user = accounts.user_named(person.name)
        if user is None:
            password = passwords.generate()
            # The sheet first: an account whose password nobody knows would be lost.
            _note(state, person, password)
            user = accounts.add_user(person.name, password, person.role == 1)
        if person.tenant:
            accounts.set_role(user, accounts.tenant_named(person.tenant), person.role)


def passwords_of(state: State, people: Iterable[Person]) -> dict[str, str]:
    """Return the passwords of people without an account here; those that are missing are made."""
    found = {}
    for person in people:
        file = password_file(state, person.name)
        if not file.exists():
            _note(state, person, passwords.generate())
        found[person.name] = file.read_text()
    return found


def password_file(state: State, user: str) -> Path:
    """Return the file that holds one user's generated password."""
    return state.ezmeral / "passwords" / user


def _note(state: State, person: Person, password: str) -> None:
    file = password_file(state, person.name)
    file.parent.mkdir(exist_ok=True, mode=0o700)
    write_private(file, password)
    rows = []
    if state.credentials.exists():
        rows = list(csv.DictReader(io.StringIO(state.credentials.read_text())))
    role = {1: "Site Admin", 2: "Admin", 3: "Member"}[person.role]
    rows = [row for row in rows if row["user"] != person.name]
    rows.append(
        {"user": person.name, "password": password, "tenant": person.tenant or "", "role": role}
    )
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, ["user", "password", "tenant", "role"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_private(state.credentials, sheet.getvalue())


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every tenant of this platform gets."""

    client: Client
    state: State
    catalogue: Catalogue
    front_door: str
    seats: int = 1

    async def give(self, tenant: Tenant) -> None:
        """Make a tenant's namespace, rights, quota, catalogue; safe to repeat."""
        # A class in one tenant shares its quota; a tenant somebody adds is for one learner.
        seats = self.seats if tenant.name in (TENANT, OTHER_TENANT) else 1
        await tenants.ensure_tenant(self.client, tenant, self.state.projects, quota(seats))
        secret = _auth_secret(self.front_door, self.state.ca, tenant)
        await tenants.apply(self.client, res.SECRETS, _AUTH_SECRET, tenant.namespace, secret)
        await _install(self.catalogue, self.client, tenant.namespace)


# What `kubectl top` asks for; the API server answers it from the node agent's figures.
METRICS = {
    "metadata": {"name": "v1beta1.metrics.k8s.io"},
    "spec": {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    },
}


async def serve_metrics(administrator: Client) -> None:
    """Have the API server answer `kubectl top`."""
    await _create(administrator, res.APISERVICES, METRICS, None)


async def fill_cluster(equipment: Equipment, accounts: Accounts) -> None:
    """Make the tenants' namespaces, their catalogue and what they share."""
    for tenant in accounts.tenants():
        await equipment.give(tenant)
    namespace = accounts.tenant_named(TENANT).namespace
    for shared in equipment.catalogue.shared():
        await _create(equipment.client, res.KDCLUSTERS, shared, namespace)


def _auth_secret(front_door: str, ca: Path, tenant: Tenant) -> dict[str, Any]:
    """Tell the applications in pods where a password can be checked."""
    return {
        "metadata": {"labels": {"kubedirector.hpe.com/secretType": "ext-auth"}},
        "stringData": {"url": front_door, "ca.crt": ca.read_text(), "tenant": tenant.name},
    }


async def _install(catalogue: Catalogue, client: Client, namespace: str) -> None:
    """Install the applications; wait for the operator that is still coming up."""
    async for attempt in stamina.retry_context(on=_may_pass, timeout=20, wait_max=0.5):
        with attempt:
            await catalogue.install(client, namespace)


async def _create(
    client: Client, resource: Resource, obj: dict[str, Any], namespace: str | None
) -> None:
    """Create the object unless it is there; wait for the parts that are still coming up."""
    async for attempt in stamina.retry_context(on=_may_pass, timeout=20, wait_max=0.5):
        with attempt:
            try:
                await client.create(resource, obj, namespace)
            except ApiError as error:
                if not error.is_already_there:
                    raise


def _may_pass(error: Exception) -> bool:
    # 404: the resource type is not served yet; 500: its webhook does not answer yet.
    return isinstance(error, ApiError) and error.status in (404, 409, 429, 500, 503)
