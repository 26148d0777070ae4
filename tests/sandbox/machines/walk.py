"""Start a platform, run a pod on it, sign in, take it down: what must work on any machine.

    python -m tests.sandbox.machines.walk STATE [--fill]

`--fill` fills the state's disk in between, and expects a sentence for as long as it is full. Run
within a namespace that is the odd machine; what it prints is looked at by `test_machines.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from labsandbox.client import ApiError, Client
from labsandbox.client.resources import CONFIGMAPS, NAMESPACES, NODES, PODS, SERVICEACCOUNTS
from tests.sandbox.platform.program import environment, family, labsandbox, session

NAMESPACE = "machine"
SECONDS = 120


async def walk(state: Path, *, fill: bool) -> None:
    """Make a namespace and a pod, and look at what the pod printed."""
    async with Client.from_kubeconfig(state / "admin.conf") as client, asyncio.timeout(SECONDS):
        await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        while not await has(client, SERVICEACCOUNTS, "default"):
            await asyncio.sleep(0.1)
        container = {"name": "c", "image": "python:3.12", "command": ["python", "-c", "print(6*7)"]}
        spec = {"restartPolicy": "Never", "containers": [container]}
        await client.create(PODS, {"metadata": {"name": "answer"}, "spec": spec}, NAMESPACE)
        while (await client.get(PODS, "answer", NAMESPACE))["status"]["phase"] != "Succeeded":
            await asyncio.sleep(0.1)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/answer/log"
        print("pod:", str(await client.request("GET", path)).strip())
        (node,) = await client.list(NODES)
        for condition in node["status"]["conditions"]:
            if condition["type"] == "PodsConfined":
                print("confined:", condition["status"], condition["message"])
        if fill:
            await fill_up(client, state)


async def has(client: Client, kind: object, name: str) -> bool:
    try:
        await client.get(kind, name, NAMESPACE)  # type: ignore[arg-type]
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


async def fill_up(client: Client, state: Path) -> None:
    """Fill the disk; what is written meets a sentence, and is stored when there is room again."""
    filler, number = state.parent / "filler", 0
    with filler.open("wb") as file:
        try:
            while True:
                file.write(os.urandom(1 << 16))
                file.flush()
        except OSError:
            print("disk: full")
    text = "x" * 100_000
    while True:
        body = {"metadata": {"name": f"large-{number}"}, "data": {"text": text}}
        try:
            await client.create(CONFIGMAPS, body, NAMESPACE)
        except ApiError as error:
            print("refused:", error.status, error.message)
            break
        number += 1
    filler.unlink()
    await client.create(CONFIGMAPS, body, NAMESPACE)
    print("stored: again")


def main() -> None:
    state = Path(sys.argv[1])
    begun = labsandbox("up", "--state", str(state), "--detach", check=False)
    print(begun.stdout, begun.stderr)
    if begun.returncode:
        sys.exit(begun.returncode)
    try:
        print("session:", session(environment(state)).status_code)
        asyncio.run(walk(state, fill="--fill" in sys.argv))
    finally:
        labsandbox("down", "--state", str(state))
    print("left:", len([one for one in family(state) if one.pid != os.getpid()]))


if __name__ == "__main__":
    main()
