"""Two learners of one tenant work through the logistics labs at the same time.

They share a namespace, a project repository, a registry of images and the room of the tenant. What
keeps them apart is their name: each lab is replayed by both at once, and afterwards each one's part
of the platform is looked at as if nobody else were there. At night: it is two replays.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labrunner import sandbox
from labrunner.curriculum import Lab
from tests.labs.after import AFTER
from tests.labs.platform import Platform
from tests.labs.stories.story import chapters, replay

pytestmark = [pytest.mark.labs, pytest.mark.nightly, pytest.mark.timeout(2500)]

NAMES = ("student1", "student2")
LABS = [lab for lab in chapters("logistics") if lab.platform]


def platform_of(name: str, state: Path, settings: dict[str, str]) -> Platform:
    """Return the platform as this learner of the tenant gets it."""
    own = {
        "EZMERAL_USER": name,
        "EZMERAL_PASSWORD_FILE": settings["EZMERAL_PASSWORD_FILE"].replace(NAMES[0], name),
        "KUBECONFIG": settings["KUBECONFIG"].replace(f"/{NAMES[0]}/", f"/{name}/"),
    }
    Path(own["KUBECONFIG"]).parent.mkdir(parents=True, exist_ok=True)
    return Platform(state, settings | own)


@pytest.fixture(scope="module")
def learners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Platform]]:
    folder = tmp_path_factory.mktemp("neighbours")
    words = ["--students", str(len(NAMES)), "--seats", str(len(NAMES))]
    with sandbox.running(folder / "state", words=words) as settings:
        assert settings["EZMERAL_USER"] == NAMES[0]
        yield [platform_of(name, folder / "state", settings) for name in NAMES]


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """Collect the labs that both passed, for those that need them."""
    return set()


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_two_learners_of_a_tenant_do_not_meet(
    learners: list[Platform], passed: set[str], lab: Lab, tmp_path: Path
) -> None:
    if broken := set(lab.needs) - passed:
        pytest.skip(f"needs {', '.join(sorted(broken))}, which did not pass")

    def work(learner: Platform) -> str:
        settings = tmp_path / f"{learner.user}.env"
        lines = [f"{name}={value!r}" for name, value in learner.settings.items()]
        settings.write_text("\n".join(lines))
        out = tmp_path / learner.user
        done = replay(out, "--only", lab.id, "--platform", str(settings))
        return "" if done.returncode == 0 else done.stdout[-5000:] + done.stderr[-2000:]

    with ThreadPoolExecutor(len(learners)) as pool:
        trouble = dict(zip(NAMES, pool.map(work, learners), strict=True))
    assert trouble == dict.fromkeys(NAMES, "")
    for learner in learners:
        AFTER[lab.id](learner)
    passed.add(lab.id)
