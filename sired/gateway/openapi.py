"""``/openapi.json``, made of what the handlers of the paths declare."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Route

from sire import __version__
from sired.gateway.call import BaseEndpoint, Endpoint
from sired.gateway.describe import Described, described
from sired.gateway.errors import error_response

_JSON = "application/json"
_ANY = "*/*"
_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
_SCHEMA = "#/components/schemas/{name}"
_OK = 200
_PHRASES = {_OK: "The answer.", 503: "It is not."}
_BINARY = {"type": "string", "format": "binary"}
# Starlette adds it to GET; the others are for programs, which take what they take.
_METHODS = ("GET", "POST", "DELETE")


def document(routes: Sequence[BaseRoute], *, demands_keys: bool = False) -> dict[str, Any]:
    """The OpenAPI document of some routes.

    Args:
        routes: all of them.
        demands_keys: whether requests need an API key.
    """
    found = [one for one in routes if isinstance(one, Route)]
    schemas = _Schemas(found)
    paths: dict[str, dict[str, Any]] = {}
    for route in found:
        item = paths.setdefault(_PLACE.sub(r"{\1}", route.path), {})
        for method in _METHODS:
            if method in (route.methods or ()):
                item.setdefault(method.lower(), schemas.operation(route, method))
    whole: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "sire",
            "version": __version__,
            "description": "Models of one machine, for the clients that people already have.",
        },
        "paths": paths,
        "components": {"schemas": schemas.components},
    }
    if demands_keys:
        whole["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        whole["security"] = [{"key": []}]
    return whole


class _Schemas:
    """The schemas of all types that routes declare, and the routes in terms of them."""

    def __init__(self, routes: Iterable[Route]) -> None:
        types: list[Any] = []
        for route in routes:
            handler = _handler(route)
            types += [one for one in (handler.takes, handler.returns) if _is_json(one)]
            types += _errors(route)
        types = list({repr(one): one for one in types}.values())
        schemas, self.components = msgspec.json.schema_components(types, ref_template=_SCHEMA)
        self._schemas = dict(zip(map(repr, types), schemas, strict=True))

    def operation(self, route: Route, method: str) -> dict[str, Any]:
        """One method of a path."""
        handler = _handler(route)
        found: dict[str, Any] = {
            "operationId": f"{method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', route.path)}",
            "summary": handler.summary,
            "tags": [route.path.split("/")[1]],
            "parameters": [
                *(_parameter(name, "path") for name in _PLACE.findall(route.path)),
                *(_parameter(name, "query") for name in handler.query),
            ],
            "responses": self._responses(route, handler),
        }
        if handler.takes is not None:
            kind = _ANY if handler.takes is bytes else _JSON
            found["requestBody"] = {"required": True, "content": self._content(handler.takes, kind)}
        elif method == "POST":
            found["requestBody"] = {"content": {_ANY: {"schema": _BINARY}}}
        return found

    def _responses(self, route: Route, handler: Described) -> dict[str, Any]:
        kind = _JSON
        content = self._content(handler.returns, kind)
        if handler.returns is bytes:  # of any type, also JSON
            kind = _ANY
            content = {kind: {"schema": {}}}
        if handler.streams:
            content[handler.streams] = {"schema": {}}
        errors = [self._schemas[repr(one)] for one in _errors(route)]
        found = {}
        for one in handler.statuses:
            found[str(one)] = {"description": _PHRASES[one], "content": content}
            if one != _OK:
                either = {"anyOf": [content[kind]["schema"], *errors]}
                found[str(one)] = {**found[str(one)], "content": {kind: {"schema": either}}}
        told = {_JSON: {"schema": {"anyOf": errors}}}
        return {**found, "default": {"description": "An error.", "content": told}}

    def _content(self, kind: Any, media_type: str) -> dict[str, Any]:
        """A body of a type."""
        if kind is bytes:
            return {media_type: {"schema": _BINARY}}
        return {media_type: {"schema": self._schemas[repr(kind)] if kind is not None else {}}}


def _is_json(kind: Any) -> bool:
    return kind is not None and kind is not bytes


def _handler(route: Route) -> Described:
    endpoint = route.endpoint
    return described(endpoint.handle if isinstance(endpoint, Endpoint) else endpoint)


def _errors(route: Route) -> list[Any]:
    """The types of errors: that of the dialect, and sire's own before the path matters."""
    endpoint = route.endpoint
    own = described(error_response).returns
    dialect = described(endpoint.render).returns if isinstance(endpoint, BaseEndpoint) else own
    return [own] if dialect in (own, None) else [dialect, own]


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if place == "path":
        schema["minLength"] = 1
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
