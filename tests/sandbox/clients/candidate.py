"""One candidate of a leader election: `python candidate.py KUBECONFIG NAMESPACE NAME`.

A program of its own, because the client's election never ends by itself.
"""

from __future__ import annotations

import sys

from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock


def main(kubeconfig: str, namespace: str, name: str) -> None:
    """Stand for election and say so when elected."""
    config.load_kube_config(kubeconfig)
    settings = electionconfig.Config(
        ConfigMapLock("leader", namespace, name),
        lease_duration=4,
        renew_deadline=3,
        retry_period=1,
        onstarted_leading=lambda: print(f"{name} leads", flush=True),
        onstopped_leading=None,
    )
    leaderelection.LeaderElection(settings).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
