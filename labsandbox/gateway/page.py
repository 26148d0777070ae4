"""What a browser sees while nothing answers behind a gateway port."""

from __future__ import annotations

from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="refresh" content="3">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem;
color:#1b2733;background:#fff}}code{{background:#eef2f6;padding:.1rem .3rem;border-radius:.2rem}}
</style></head><body><h1>{title}</h1><p>{what}</p>
<p>See for yourself: <code>{command}</code></p>
<p>This page tries again every three seconds.</p></body></html>
"""


def unavailable(namespace: str, service: str, port: int) -> bytes:
    """Return a whole 503 answer: the service has no pod that is ready."""
    return _answer(
        "503 Service Unavailable",
        "Nothing is ready behind this address yet",
        f"The service {service} (port {port}) has no pod that is ready.",
        f"kubectl get pods,endpoints -n {namespace}",
    )


def bad_gateway(namespace: str, service: str, port: int) -> bytes:
    """Return a whole 502 answer: a pod is ready but does not take the connection."""
    return _answer(
        "502 Bad Gateway",
        "The program behind this address does not answer",
        f"The service {service} has a pod, and nothing in it listens on port {port}.",
        f"kubectl logs -n {namespace} {service}",
    )


def _answer(status: str, title: str, what: str, command: str) -> bytes:
    body = _PAGE.format(title=escape(title), what=escape(what), command=escape(command)).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 3\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
