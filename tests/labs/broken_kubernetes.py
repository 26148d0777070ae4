"""How the checkpoints of the labs beside the server come to fail: mlflow/07 and 09 to 11."""

from __future__ import annotations

__all__ = ["KUBERNETES"]

KUBERNETES: dict[str, dict[str, str]] = {
    "mlflow/07": {
        "The conflict is named with both owners, and two cases of today merge without one": (
            "_ = (legacy / 'requirements.txt').write_text('mlflow\\n')"
        ),
        "Every row of the matrix passes, and the report is accepted": (
            "(run_folder / 'accepted.json').unlink()"
        ),
        "One protocol is answered by every version": "portable = ['split-1x']",
        "Exactly the predicted cells are red, at the import, and the run ended with 1": (
            "(home / 'broken.json').unlink()"
        ),
        "With the pin all is green, and no cell had to run again": (
            "_ = matrix_file.write_text(without(matrix_file.read_text()))"
        ),
        "JUnit counts the same rows, and the Job has an index for each version": (
            "(home / 'job.yaml').unlink()"
        ),
    },
    "mlflow/09": {
        "The program started after its init container, and not at all after a failed one": (
            "k8s.core.delete_namespaced_pod(f'{prefix}-init', **WHERE, grace_period_seconds=0)\n"
            "wait('it to be gone', lambda: pods('init'), until=lambda left: not left)"
        ),
        "The Job with a sidecar is done; with an ordinary container it never is": (
            "batch.delete_namespaced_job(f'{prefix}-sidecar', **WHERE)"
        ),
        "The shop got prices, then clear refusals, and the adapter shows both counts": (
            "clear('deployments', 'pods')"
        ),
        "A pod that is not ready left the service without a restart; the dead one was "
        "restarted and is back": "clear('deployments', 'pods')",
        "Three parts are done; of the hard job only part 1 failed; the CronJob has run": (
            "batch.delete_namespaced_job(f'{prefix}-parts', **WHERE)"
        ),
        "The Deployment ran two writers at once, the StatefulSet never": (
            "clear('statefulsets', 'pods')"
        ),
        "Another pod took over, and no term has had two leaders": "clear('deployments', 'leases')",
    },
    "mlflow/10": {
        "The ends send larger packets than the middle carries, and no offload is left: the "
        "experiment is valid": "world.ip(world.middle, f'link set m1 mtu {ends}');",
        "Small uploads arrive, the large one hangs, and the counters show why": (
            "_ = [world.ip(world.middle, f'link set {one} mtu {ends}') for one in ('m1', 'm2')]"
        ),
        "The probe has found the limit to the byte": "echo.kill()",
        "Over a router the same upload arrives, and the sender has learned the limit": (
            "healthy.right.stdin.close()\nhealthy.right.wait()"
        ),
        "Without a cure the upload hangs; with each of the three it arrives, and two of them lose "
        "nothing": (
            "cures['lower the ends'].left.stdin.close()\ncures['lower the ends'].left.wait()"
        ),
    },
    "mlflow/11": {
        "Each size survives the loss of a node, and none is a node too large": (
            "size_file.unlink()"
        ),
        "The inventory has three machines for etcd and the workers that you computed": (
            "inventory_file.unlink()"
        ),
        "The written inventory has no problem, and each of six mistakes is found, once": (
            "inventory_file.unlink()"
        ),
        "The application runs and leaves traces of four kinds": (
            "k8s.core.delete_namespaced_service(name, **WHERE)"
        ),
        "Process and port are gone; a claim and a stuck object are left": (
            "k8s.core.delete_namespaced_persistent_volume_claim(f'data-{name}-0', **WHERE)\n"
            "wait('the claim to go', objects, until=lambda left: len(left) < 2)"
        ),
        "Nothing is left: no object, no finalizer, no process, no port, no file": "order()",
    },
}
