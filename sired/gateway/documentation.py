"""``/openapi.json``, and ``/docs``, a page for people that loads nothing from other places."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from html import escape
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from sired.gateway.describe import describe
from sired.gateway.openapi import document

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
summary { cursor: pointer; padding: .3em 0 } summary b { display: inline-block; width: 4.5em }
details { border-top: 1px solid #8884 } details > div { margin: 0 0 1em 4.5em }
code, pre { font: 13px/1.4 ui-monospace, monospace } table { border-collapse: collapse }
td, th { text-align: left; padding: .1em 1em .1em 0; vertical-align: top }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd } a { color: #9cf } }
"""
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sire</title>
<meta name="viewport" content="width=device-width"><style>{style}</style>
<h1>sire {version}</h1>
<p>{description} The same as <a href="openapi.json">an OpenAPI file</a>.</p>
{paths}
</html>
"""


class Documentation:
    """The paths of a gateway, as a file for programs and a page for people.

    Args:
        routes: all others.
        demands_keys: whether requests need an API key.
    """

    def __init__(self, routes: Sequence[BaseRoute], *, demands_keys: bool) -> None:
        self.routes = [
            Route("/openapi.json", _Constant(self, "file", "application/json"), methods=["GET"]),
            Route("/docs", _Constant(self, "page", "text/html"), methods=["GET"]),
        ]
        self._all = [*routes, *self.routes]
        self._demands_keys = demands_keys

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._all, demands_keys=self._demands_keys)

    @cached_property
    def file(self) -> bytes:
        """The OpenAPI file."""
        return msgspec.json.encode(self._document)

    @cached_property
    def page(self) -> bytes:
        """The page, of HTML."""
        return "".join(_page(self._document)).encode()


class _Constant:
    """Answers with the file or the page, which are made when they are first asked for."""

    def __init__(self, documentation: Documentation, name: str, kind: str) -> None:
        self._documentation = documentation
        self._name = name
        self._kind = kind
        self.described = self.file if name == "file" else self.page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = getattr(self._documentation, self._name)
        await Response(content, media_type=self._kind)(scope, receive, send)

    @describe(returns=dict[str, Any])
    def file(self) -> None:
        """This description of all paths."""

    @describe(returns=bytes)
    def page(self) -> None:
        """A page for people with all paths."""


def _page(whole: dict[str, Any]) -> Iterator[str]:
    info = whole["info"]
    schemas = whole["components"]["schemas"]
    paths = "\n".join(
        _operation(path, method.upper(), one, schemas)
        for path, item in whole["paths"].items()
        for method, one in item.items()
    )
    yield _PAGE.format(
        style=_STYLE,
        version=escape(info["version"]),
        description=escape(info["description"]),
        paths=paths,
    )


def _operation(path: str, method: str, one: dict[str, Any], schemas: dict[str, Any]) -> str:
    """One method of a path: what it takes, and what it answers."""
    parts = [_parameters(one["parameters"])]
    for kind, body in one.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body, <code>{escape(kind)}</code></p>{_fields(body['schema'], schemas)}")
    for status, answer in one["responses"].items():
        if status != "default":
            for kind, body in answer["content"].items():
                told = f"<p>{status}, <code>{escape(kind)}</code></p>"
                parts.append(told + _fields(body["schema"], schemas))
    head = f"<b>{method}</b> <code>{escape(path)}</code> {escape(one['summary'])}"
    return f"<details><summary>{head}</summary><div>{''.join(parts)}</div></details>"


def _parameters(found: list[dict[str, Any]]) -> str:
    named = ", ".join(f"<code>{escape(one['name'])}</code> ({one['in']})" for one in found)
    return f"<p>Parameters: {named}</p>" if named else ""


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The fields of an object, or the name of another type."""
    found = schemas.get(_name(schema), schema)
    rows = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(_type(field))}"
        f"<td>{'required' if name in found.get('required', ()) else ''}"
        for name, field in found.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>" if rows else f"<p>{escape(_type(schema))}</p>"


def _type(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items') or {})}"
    return str(schema.get("type", "anything"))


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
