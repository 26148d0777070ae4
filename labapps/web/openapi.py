"""Show an OpenAPI description as a page that needs nothing from any other server."""

from __future__ import annotations

import html
import json
from typing import Any

__all__ = ["page"]

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
summary{cursor:pointer;padding:.4rem .6rem;background:#f3f5f7;border-radius:.3rem;margin:.3rem 0}
b.verb{display:inline-block;width:5rem;font-family:monospace}code,pre{font-family:monospace}
body{overflow-wrap:anywhere}
pre{background:#f8f8f8;padding:.8rem;overflow:auto;border-radius:.3rem}table{border-spacing:1rem 0}
"""


def page(document: dict[str, Any]) -> str:
    """Render the document as HTML."""
    info = document["info"]
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{_text(info['title'])}"
        f"</title><style>{STYLE}</style><main><h1>{_text(info['title'])}</h1>",
        f"<p>{_text(info.get('description', ''))}</p>",
        "<p>The same as JSON: <a href='openapi.json'>openapi.json</a></p>",
    ]
    for path, verbs in document["paths"].items():
        parts += [_operation(v, path, verbs[v]) for v in verbs if v != "parameters"]
    schemas = document.get("components", {}).get("schemas", {}) | document.get("definitions", {})
    for name, schema in schemas.items():
        parts.append(
            f"<details id='{_text(name)}'><summary>{_text(name)}</summary>{_json(schema)}</details>"
        )
    return "\n".join([*parts, "</main>"])


def _operation(verb: str, path: str, operation: dict[str, Any]) -> str:
    head = f"<b class='verb'>{verb.upper()}</b> <code>{_text(path)}</code>"
    lines = [f"<details><summary>{head} {_text(operation.get('summary', ''))}</summary>"]
    lines.append(f"<p>{_text(operation.get('description', ''))}</p>")
    rows = "".join(
        f"<tr><td><code>{_text(one['name'])}</code><td>{_text(one['in'])}<td>{_text(_type(one))}"
        f"<td>{'yes' if one.get('required') else ''}"
        for one in operation.get("parameters", [])
    )
    if rows:
        heads = "<th>Name<th>Where<th>Type<th>Needed"
        lines.append(f"<table><thead><tr>{heads}<tbody>{rows}</table>")
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"<p>Body, <code>{_text(media)}</code>:</p>")
        lines.append(_json(body.get("example") or body.get("schema", {})))
    rows = "".join(
        f"<tr><td><code>{code}</code><td>{_text(reply.get('description', ''))}"
        for code, reply in operation.get("responses", {}).items()
    )
    lines.append(f"<table>{rows}</table></details>")
    return "\n".join(lines)


def _type(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", parameter)
    return str(schema.get("$ref", schema.get("type", ""))).rpartition("/")[2]


def _json(value: Any) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2))}</pre>"


def _text(value: Any) -> str:
    return html.escape(str(value))
