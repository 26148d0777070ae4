"""All looks in their order; a look that needs what was not reached is left out, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import requests

from labclass.checkup import (
    catalogue,
    front,
    gateway,
    kubeconfig,
    operator,
    repository,
    rights,
    room,
    settings,
    spark,
)
from labclass.checkup.api import SessionOver
from labclass.checkup.finding import Finding, missing, skipped
from labclass.checkup.visit import Visit


@dataclass(frozen=True)
class Look:
    """One look: its name, what must have been reached before, and the look itself."""

    name: str
    needs: str
    look: Callable[[Visit], Iterator[Finding]]


LOOKS = (
    Look("Settings", "", settings.complete),
    Look("Certificate", "settings", settings.certificate),
    Look("Front door", "certificate", front.trusted),
    Look("REST API", "trust", front.answers),
    Look("Sign-in", "front door", front.sign_in),
    Look("Tenant", "session", front.membership),
    Look("Kubeconfig", "session", kubeconfig.fetched),
    Look("Kubernetes", "kubeconfig", kubeconfig.version),
    Look("Rights", "cluster", rights.needed),
    Look("Shut doors", "cluster", rights.shut),
    Look("KubeDirector", "cluster", operator.kinds),
    Look("Operator", "kubedirector", operator.judges),
    Look("Catalogue", "kubedirector", catalogue.apps),
    Look("Training", "kubedirector", catalogue.shared),
    Look("Names", "cluster", catalogue.names),
    Look("Room", "cluster", room.quota),
    Look("Pods", "cluster", room.admitted),
    Look("Repository", "cluster", repository.seen),
    Look("Gateway", "cluster", gateway.answers),
    Look("Spark", "cluster", spark.settings),
)


def examine(visit: Visit, looks: Iterable[Look] = LOOKS) -> Iterator[Finding]:
    """Look at everything, one after the other; no secret leaves in a finding's words."""
    for each in looks:
        for found in _looked(each, visit):
            yield found.masked(frozenset(visit.secrets))


def _looked(each: Look, visit: Visit) -> Iterator[Finding]:
    if each.needs and each.needs not in visit.reached:
        yield skipped(each.name, f"the {each.needs}")
        return
    try:
        yield from each.look(visit)
    except SessionOver:
        yield missing(
            each.name,
            "a session that lasts through this visit",
            "the session is over: the platform no longer knows the token it gave",
            "Run this again. Happens it again, then sessions are too short, or the API server does "
            "not ask the front door whose tokens they are.",
        )
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        cure = "Run this again; a 401 means that the session ended in between."
        yield missing(each.name, "an answer without an error", f"HTTP {status}", cure)
    except (requests.RequestException, OSError) as error:
        yield missing(
            each.name,
            "an answer from the platform",
            _reason(error),
            "Is it up, and may this machine reach it? A proxy or firewall may stand in between.",
        )
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        yield missing(
            each.name,
            "an answer in the form that the labs read",
            f"{type(error).__name__}: {error}",
            "Is EZMERAL_URL a platform's front door? Then please report this with its version.",
        )


def _reason(error: Exception) -> str:
    """Return the last cause's words: the first ones of a network error are about our own code."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(cause).__name__}: {cause}"[:300]
