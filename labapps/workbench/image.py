"""The image of a build: the runtime's image, and one layer with the build and its packages.

`python -m labapps.workbench.image --to <registry>/<name> --base <image> [--apart] [digest]` pushes
it as `<registry>/<name>:<digest>`. No container engine is needed for that: an image is a list of
layers, and this adds one. The bytes of the layer depend on the build alone. Blobs go first and the
name last, so a push that is killed leaves no image that lacks something.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import certifi

from labapps.member.place import Place
from labapps.workbench import copies, environment
from labapps.workbench.distribution import (
    DOCKER,
    INDEXES,
    LARGEST,
    MANIFESTS,
    OCI,
    Blob,
    Name,
    Registry,
    RegistryError,
    account,
    accounts,
)
from labapps.workbench.layer import Layer, write
from labapps.workbench.layout import BUILDS, ENVIRONMENTS, IMAGE, REGISTRY, RUNS, Layout
from labapps.workbench.refusal import Refusal

__all__ = ["extended", "push", "tags"]

BASE = "org.opencontainers.image.base"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
Json = dict[str, Any]


def extended(manifest: Json, config: Json, layer: Layer, labels: dict[str, str]) -> Json:
    """Return the configuration of an image with one layer more."""
    settings = config.get("config") or {}
    found = config | {"config": settings | {"Labels": (settings.get("Labels") or {}) | labels}}
    before = config.get("rootfs") or {}
    if len(before.get("diff_ids") or []) != len(manifest["layers"]):
        raise RegistryError(
            "The configuration of the runtime's image names other layers than its manifest; push "
            "the runtime's image again."
        )
    found["rootfs"] = {"type": "layers", "diff_ids": [*before["diff_ids"], layer.diff_id]}
    if "history" in config:
        words = {"created": config.get("created", ""), "created_by": "labapps.workbench.image"}
        found["history"] = [*config["history"], {k: v for k, v in words.items() if v}]
    return found


def encode(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tags(digest: str, base: str, *, apart: bool) -> list[str]:
    """Return the tags that the image of a build may have, the first that is free or its own.

    The same files may be built in two runtimes: only the default one's image has the plain tag.

    >>> tags("f" * 40, "r.org/labs/workbench:1.0", apart=True)
    ['ffffffffffffffffffffffffffffffffffffffff-678e6bd8']
    """
    own = f"{digest}-{hashlib.sha256(base.encode()).hexdigest()[:8]}"
    return [own] if apart else [digest, own]


def base_of(registry: Registry, repository: str, tag: str) -> str | None:
    """Return what an image in the registry was built on; none where there is no such image."""
    found = registry.manifest(repository, tag)
    if found is None:
        return None
    try:
        digest = str(json.loads(found[0])["config"]["digest"])
        labels = json.loads(registry.blob(repository, digest))["config"]["Labels"]
        return str(labels[f"{BASE}.name"])
    except (KeyError, TypeError, ValueError):
        return ""  # somebody else's


@dataclass(frozen=True)
class Base:
    """The runtime's image as its registry has it."""

    digest: str
    kind: str
    manifest: Json
    config: Json


def read_base(registry: Registry, base: Name) -> Base:
    """Return the manifest and configuration of an image, for this machine's kind."""
    machine = MACHINES.get(platform.machine(), platform.machine())
    reference, found = base.reference, registry.manifest(base.repository, base.reference)
    if found is not None and found[1] in INDEXES:
        choices = json.loads(found[0])["manifests"]
        places = [(c, c.get("platform") or {}) for c in choices]
        wanted = ("linux", machine)
        fitting = [c["digest"] for c, p in places if (p.get("os"), p.get("architecture")) == wanted]
        if not fitting:
            known = sorted({f"{p.get('os')}/{p.get('architecture')}" for _, p in places})
            raise RegistryError(f"{base} has no image for linux/{machine}: {', '.join(known)}.")
        reference = fitting[0]
        found = registry.manifest(base.repository, reference)
    if found is None:
        raise RegistryError(
            f"The registry {base.host} has no image {base.repository} {reference}, the runtime of "
            "this build. Push it there, or name the runtimes with their registry in "
            f"WORKBENCH_RUNTIMES, such as <registry>/{base.repository}:{base.reference}."
        )
    content, kind = found
    if kind not in MANIFESTS:
        raise RegistryError(f"Expected {base} as {' or '.join(MANIFESTS)}; found {kind or 'none'}.")
    manifest = json.loads(content)
    config = json.loads(registry.blob(base.repository, manifest["config"]["digest"]))
    return Base(digest_of(content), kind, manifest, config)


def bring(source: Registry, base: Name, target: Registry, to: Name, layers: list[Json]) -> str:
    """Have the runtime's layers where the image is to be; return what was done, in words."""
    done = {"there": 0, "mounted": 0, "copied": 0}
    for number, layer in enumerate(layers, 1):
        digest, size = str(layer["digest"]), int(layer["size"])
        if target.has(to.repository, digest):
            done["there"] += 1
        elif source is target and target.mount(to.repository, digest, base.repository):
            done["mounted"] += 1
        else:
            print(f"Copying layer {number} of {len(layers)}, {size / 1e6:.1f} MB.", flush=True)
            copy(source, base, target, to, digest, size)
            done["copied"] += 1
    return ", ".join(f"{count} {word}" for word, count in done.items() if count)


def copy(source: Registry, base: Name, target: Registry, to: Name, digest: str, size: int) -> None:
    with ExitStack() as opened:

        def body() -> Blob:
            return opened.enter_context(source.stream(base.repository, digest, size))

        target.upload(to.repository, digest, body)


def push(
    layout: Layout, digest: str, to: Name, base: Name, choices: list[str], secret: Path
) -> str:
    """Push the image of a build, or find it there; return its name."""
    began, entries = time.monotonic(), accounts(secret / ".dockerconfigjson")
    is_one = (to.host, to.url) == (base.host, base.url)
    with ExitStack() as opened:
        trust = opened.enter_context(trusted(secret / "ca.crt"))
        reading = f"repository:{base.repository}:pull"
        scopes = [f"repository:{to.repository}:pull,push", *([reading] if is_one else [])]
        target = opened.enter_context(closing(Registry(to, account(entries, to), scopes, trust)))
        for tag in choices:
            name = f"{to.host}/{to.repository}:{tag}"
            found = base_of(target, to.repository, tag)
            if found == str(base):
                print(f"{name} is there already.")
                return name
            if found is None:
                break
        else:
            raise RegistryError(f"{name} is not an image of this build; delete it in the registry.")
        source = target
        if not is_one:
            source = opened.enter_context(
                closing(Registry(base, account(entries, base), [reading], trust))
            )
        runtime = read_base(source, base)
        file = opened.enter_context(tempfile.TemporaryFile())
        layer = packed(layout, digest, file)
        print(f"The image {name} is {base} with {layer.files} files in {layer.size / 1e6:.2f} MB.",
              flush=True)  # fmt: skip
        did = bring(source, base, target, to, runtime.manifest["layers"])

        def body() -> Any:
            file.seek(0)
            return file

        if not target.has(to.repository, layer.digest):
            target.upload(to.repository, layer.digest, body)
        labels = {f"{BASE}.name": str(base), f"{BASE}.digest": runtime.digest}
        config = encode(extended(runtime.manifest, runtime.config, layer, labels))
        if not target.has(to.repository, digest_of(config)):
            target.upload(to.repository, digest_of(config), lambda: config)
        manifest = encode(listing(runtime, config, layer))
        target.put_manifest(to.repository, tag, manifest, runtime.kind)
    print(f"Pushed {name} in {time.monotonic() - began:.1f} s: {digest_of(manifest)}; layers of "
          f"the runtime: {did}.")  # fmt: skip
    return name


def listing(runtime: Base, config: bytes, layer: Layer) -> Json:
    """Return the manifest: the runtime's, with the new layer and configuration."""
    kind = f"{OCI}.layer.v1.tar+gzip"
    if runtime.kind.startswith(DOCKER):
        kind = f"{DOCKER}.image.rootfs.diff.tar.gzip"
    added = {"mediaType": kind, "digest": layer.digest, "size": layer.size}
    kept = {k: v for k, v in runtime.manifest.items() if k not in ("annotations", "subject")}
    settings = runtime.manifest["config"] | {"digest": digest_of(config), "size": len(config)}
    return kept | {"config": settings, "layers": [*runtime.manifest["layers"], added]}


def packed(layout: Layout, digest: str, target: IO[bytes]) -> Layer:
    """Write the layer of a build: its files, and the packages of its lock."""
    builds = layout.folder(BUILDS)
    root = f"{IMAGE.strip('/')}/{BUILDS}/{digest}"
    with ExitStack() as opened:
        folders = [(root, opened.enter_context(builds.opened([digest])))]
        if environment.LOCK in os.listdir(folders[0][1]):
            number = environment.digest_of(builds.read([digest, environment.LOCK], LARGEST))
            place = layout.folder(ENVIRONMENTS)
            path = f"{IMAGE.strip('/')}/{ENVIRONMENTS}/{number}"
            folders.append((path, opened.enter_context(place.opened([number]))))
        layer, files = write(target, folders)
    own = {p.removeprefix(f"{root}/"): d for p, d in files.items() if p.startswith(f"{root}/")}
    if (found := copies.digest_of_files(own)) != digest:
        raise RegistryError(
            f"The files of the build {digest} have changed since, to {found}; build again."
        )
    return layer


@contextmanager
def trusted(extra: Path) -> Iterator[str]:
    """Give a file of the certificates that count: the usual ones, and the Secret's own."""
    if not extra.is_file():
        yield ""
        return
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
        file.write(f"{Path(certifi.where()).read_text()}\n{extra.read_text()}")
        file.flush()
        yield file.name


def main() -> None:
    parser = argparse.ArgumentParser(prog="labapps.workbench.image", description=__doc__)
    parser.add_argument("--to", required=True, help="<registry>/<name> of the images of models")
    parser.add_argument("--base", required=True, help="the image that the build was tested in")
    parser.add_argument("--apart", action="store_true", help="it is not the default runtime's")
    parser.add_argument("digest", nargs="?", help="without it the test's own output says it")
    given = parser.parse_args()
    layout, unit = Layout.from_env(), os.environ["WORKBENCH_UNIT"]
    digest = given.digest or layout.folder(RUNS, unit).tail(["digest"], 0, 100).decode()
    secret = Path(f"{Place.from_env().root}{REGISTRY}")
    try:
        to, base = Name.parse(given.to), Name.parse(given.base)
        choices = tags(digest, str(base), apart=given.apart)
        name = push(layout, digest, to, base, choices, secret)
    except (RegistryError, Refusal, OSError) as problem:
        sys.exit(f"The image was not pushed. {problem}")
    layout.folder(RUNS, unit).write(["image"], name.encode())


if __name__ == "__main__":
    main()
