"""The engine's state as a page, as JSON and for Prometheus."""

from __future__ import annotations

import html
import time
from typing import Any

from labapps.queue import fair
from labapps.queue.dispatch import Dispatcher

__all__ = ["describe", "metrics", "page"]

STYLE = (
    "body{font:16px system-ui;margin:2rem}td,th{text-align:left;padding:.2rem 1rem;"
    "border-bottom:1px solid #ddd}"
)


def describe(dispatcher: Dispatcher) -> dict[str, Any]:
    """Return jobs by state, workers and limits."""
    now = time.monotonic()
    slots = dispatcher.slots()
    limits = dispatcher.limits
    return {
        "jobs": dispatcher.store.counts(),
        "slots": slots,
        "running_per_user": fair.user_limit(slots, limits.user_running),
        "queued_per_user": limits.user_queued,
        "most": {"seconds": limits.seconds, "memory": limits.memory, "cpu": limits.cpu},
        "workers": [
            {
                "host": w.host,
                "slots": w.slots,
                "jobs": sorted(w.jobs),
                "missing": w.missing(now),
            }
            for w in dispatcher.workers.values()
        ],
    }


def metrics(dispatcher: Dispatcher) -> str:
    """Return the counters in Prometheus' text form."""
    lines = ["# TYPE training_jobs gauge"]
    for status, count in sorted(dispatcher.store.counts().items()):
        lines.append(f'training_jobs{{status="{status}"}} {count}')
    lines += ["# TYPE training_slots gauge", f"training_slots {dispatcher.slots()}"]
    lines.append("# TYPE training_worker_jobs gauge")
    for worker in dispatcher.workers.values():
        lines.append(f'training_worker_jobs{{worker="{worker.host}"}} {len(worker.jobs)}')
    return "\n".join(lines) + "\n"


def page(dispatcher: Dispatcher, *, jobs: bool) -> str:
    """Render the workers, and the newest jobs for who may see them."""
    facts = describe(dispatcher)
    rows = "".join(
        _row(
            str(job.id),
            job.user,
            job.name,
            job.status,
            time.strftime("%H:%M:%S", time.gmtime(job.submitted)),
            f"{(job.finished or time.time()) - job.started:.1f} s" if job.started else "",
            job.reason,
        )
        for job in (dispatcher.store.last(50) if jobs else ())
    )
    hint = "" if jobs else "<p>Jobs are listed with the token: <code>?X-Auth-Token=…</code></p>"
    workers = "".join(
        _row(w["host"], f"{len(w['jobs'])} of {w['slots']}", w["missing"]) for w in facts["workers"]
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta http-equiv='refresh' "
        f"content='2'><title>Training engine</title><style>{STYLE}</style>"
        f"<h1>Training engine</h1><p>{html.escape(str(facts['jobs']))}</p><table>"
        "<tr><th>job<th>user<th>name<th>status<th>submitted (UTC)<th>time<th>reason</tr>"
        f"{rows}</table>{hint}<h2>Workers</h2><table>{workers}</table>"
        "<p><a href='docs'>Interface</a></p>"
    )


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"
