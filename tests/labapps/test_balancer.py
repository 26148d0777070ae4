"""Which balancer a deployment engine runs is said by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from labapps.deployment import loadbalancer

pytestmark = pytest.mark.fast


def test_balancer_is_chosen_by_name_and_not_by_what_is_installed(tmp_path: Path) -> None:
    program = tmp_path / "haproxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    installed = {"PATH": str(tmp_path)}
    assert loadbalancer.choose(installed) is None
    assert loadbalancer.choose(installed | {"BALANCER": "haproxy"}) == str(program)
    with pytest.raises(SystemExit, match="Expected the program haproxy on the PATH"):
        loadbalancer.choose({"PATH": str(tmp_path / "none"), "BALANCER": "haproxy"})
    with pytest.raises(SystemExit, match="own or haproxy; found 'nginx'"):
        loadbalancer.choose(installed | {"BALANCER": "nginx"})
