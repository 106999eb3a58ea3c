"""The OpenAPI document as a page for people: plain HTML, with nothing loaded from anywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
_SAFE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.5rem }
h3, code { font-family: ui-monospace, monospace; font-weight: normal }
p.said { white-space: pre-line }
table { border-collapse: collapse } td, th { padding: .1rem 1rem .1rem 0; text-align: left }
td { vertical-align: top }
"""


@router.get("/docs")
async def page(request: Request) -> HTMLResponse:
    """What can be asked, for people."""
    return HTMLResponse(render(request.app.openapi()), headers=_SAFE)


def render(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    parts = [
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{title}</title>",
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>{escape(document['info']['description'])}</p>",
        "<p>The same for programs: <a href=openapi.json>openapi.json</a></p>",
    ]
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{escape(tag)}</h2>")
            parts += _operation(document, f"{method.upper()} {path}", operation)
    return "\n".join(parts)


def _operation(
    document: Mapping[str, Any], heading: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<h3>{escape(heading)}</h3><p><b>{escape(operation['summary'])}</b></p>"
    yield f"<p class=said>{escape(operation['description'])}</p>"
    fields = list(_fields(document, operation))
    if fields:
        rows = [[f"<code>{escape(name)}</code>", escape(said)] for name, said in fields]
        yield _table(["Send", ""], rows)
    replies = sorted(operation["responses"].items())
    yield _table(["Status", ""], [[escape(code), escape(r["description"])] for code, r in replies])


def _fields(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], f"in the {parameter['in']}; {parameter.get('description', '')}"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is None:
        return
    choices = body["schema"].get("anyOf", [body["schema"]])
    schema = document["components"]["schemas"][choices[0]["$ref"].rpartition("/")[2]]
    for name, field in schema["properties"].items():
        need = "required" if name in schema.get("required", ()) else "optional"
        yield name, "; ".join(filter(None, (need, field.get("description"))))


def _table(headers: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{each}</th>" for each in headers)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
