"""The catalogue, the shared training cluster, and the other names that the labs' manifests use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labclass.checkup import sizes
from labclass.checkup.api import Api
from labclass.checkup.finding import Finding, advice, missing, ok
from labclass.checkup.operator import ACCOUNT
from labclass.checkup.visit import Visit

SHARED = "training-engine-shared"
SECRET = "hpecp-ext-auth-secret"
_APPLY = "`kubectl apply -k` your copy of deploy/kubernetes/site-example brings it."


def apps(visit: Visit) -> Iterator[Finding]:
    """Look whether the tenant's catalogue has what the labs order."""
    api = visit.require_api()
    _, body = api.get(api.custom("kubedirectorapps"))
    found = {item["metadata"]["name"]: item for item in body.get("items") or []}
    wanted = sizes.applications()
    expected = f"the kdapps {', '.join(wanted)} in {api.namespace}"
    absent = [name for name in wanted if name not in found]
    if absent:
        yield missing("Catalogue", expected, f"no {', '.join(absent)}", _APPLY)
    else:
        yield ok("Catalogue", expected, ", ".join(wanted))
    there = [found[name] for name in wanted if name in found]
    if there:
        yield _images(there, _running(api))


def images_of(app: dict[str, Any]) -> set[str]:
    """Return the images that an app's roles start from."""
    spec = app["spec"]
    roles = {role.get("imageRepoTag") for role in spec.get("roles") or []}
    return {str(image) for image in (*roles, spec.get("defaultImageRepoTag")) if image}


def _running(api: Api) -> set[str]:
    """Return the images of the tenant's pods that run: what the nodes have shown they can start."""
    _, body = api.get(api.core("pods"), fieldSelector="status.phase=Running")
    return {
        container["image"]
        for pod in body.get("items") or []
        for container in pod["spec"]["containers"]
    }


def place_of(image: str) -> str:
    """Return where an image comes from: all of its name before the last part.

    >>> place_of("labs/notebook:1.0"), place_of("host:5000/team/notebook@sha256:1"), place_of("x")
    ('labs', 'host:5000/team', '')
    """
    return image.partition("@")[0].rpartition("/")[0]


def _images(found: list[dict[str, Any]], running: set[str]) -> Finding:
    """Say which images nobody has shown to be there."""
    expected = "images from a place that the nodes have started one from"
    known = {place_of(image) for image in running}
    images = sorted({image for app in found for image in images_of(app)})
    unknown = [image for image in images if place_of(image) not in known]
    if not unknown:
        return ok("Images", expected, ", ".join(images))
    return missing(
        "Images",
        expected,
        f"nothing runs here from where {', '.join(unknown)} should come",
        "The names in the repository are placeholders: build and push the images, name them under "
        "`images:` in your copy of deploy/kubernetes/site-example, apply it; the shared training "
        "cluster then shows that nodes can start them.",
    )


def shared(visit: Visit) -> Iterator[Finding]:
    """Look whether the training cluster that all learners use is up."""
    api = visit.require_api()
    expected = f"kdcluster {SHARED}, configured and without trouble"
    status, body = api.get(api.custom("kubedirectorclusters", SHARED))
    if status != 200:
        yield missing("Training", expected, "none", _APPLY)
        return
    found = body.get("status") or {}
    rollup = found.get("memberStateRollup") or {}
    trouble = sorted(name for name, value in rollup.items() if value)
    if found.get("state") == "configured" and not trouble:
        visit.reached.add("shared cluster")
        yield ok("Training", expected, f"{SHARED} is configured")
        return
    words = ", ".join([str(found.get("state") or "not seen by KubeDirector"), *trouble])
    cure = f"`kubectl describe kdcluster {SHARED} -n {api.namespace}`: its events say why."
    yield missing("Training", expected, words, cure)


def names(visit: Visit) -> Iterator[Finding]:
    """Look for the service account and the secret that the labs' manifests name."""
    api = visit.require_api()
    expected = f"service account {ACCOUNT} and secret {SECRET}"
    status, _ = api.get(api.core("serviceaccounts", ACCOUNT))
    if status != 200:
        yield missing("Names", expected, f"no service account {ACCOUNT}", _APPLY)
        return
    status, body = api.get(api.core("secrets", SECRET))
    absent = [key for key in ("url", "tenant") if key not in (body.get("data") or {})]
    if status == 200 and not absent:
        yield ok("Names", expected, expected)
        return
    found = f"no secret {SECRET}" if status != 200 else f"{SECRET} without {', '.join(absent)}"
    yield advice(
        "Names",
        expected,
        found,
        "The engines cannot check passwords without it: training jobs are refused. "
        "deploy/kubernetes/site-example makes one from url, tenant and ca.crt.",
    )
