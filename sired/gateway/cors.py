"""Web pages of other sites that may use the gateway (CORS): none, unless they are named."""

import re
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Message, Scope, Send

from sire.errors import InvalidConfiguration, shown

ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.\-\[\]:]+")
_ORIGIN_HEADER = b"access-control-allow-origin"
_REPLACED = frozenset({_ORIGIN_HEADER, b"access-control-allow-credentials"})
_EXPOSED = b"retry-after, server-timing, inference-header-content-length"
# Browsers ask again after this long.
_PREFLIGHT_SECONDS = b"600"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins that are allowed; ``*`` allows all."""

    origins: frozenset[str] = frozenset()

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may send requests."""
        return bool(origin) and (origin in self.origins or ANY in self.origins)

    def told(self, origin: str, send: Send) -> Send:
        """Sends responses that the page may read, whatever a program has said of that."""

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [one for one in message["headers"] if one[0] not in _REPLACED]
                message["headers"] = [
                    *kept,
                    (_ORIGIN_HEADER, origin.encode("latin-1")),
                    (b"access-control-expose-headers", _EXPOSED),
                    (b"vary", b"Origin"),
                ]
            await send(message)

        return send_allowed


NO_CORS = Cors()


def cors_of(origins: list[str], *, has_keys: bool) -> Cors:
    """The origins that were named.

    Raises:
        InvalidConfiguration: one is not an origin, or all are allowed without keys.
    """
    for origin in origins:
        if origin == ANY and not has_keys:
            raise InvalidConfiguration(
                "With --cors '*' every web page that you visit could use the models.",
                hint="Demand keys with --keys, or name the pages: --cors https://chat.example",
            )
        if origin != ANY and not _ORIGIN.fullmatch(origin):
            raise InvalidConfiguration(
                f"{shown(origin)} is not an origin.",
                hint="Write it as browsers do, without a path: https://chat.example:3000",
            )
    return Cors(frozenset(origins))


def preflight(scope: Scope) -> Response | None:
    """The answer to a browser that asks whether a page may send a request; else None."""
    asked = dict(scope["headers"])
    if scope["method"] != "OPTIONS" or b"access-control-request-method" not in asked:
        return None
    response = Response(status_code=204)
    response.raw_headers += [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", asked.get(b"access-control-request-headers", b"*")),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    if b"access-control-request-private-network" in asked:
        response.raw_headers.append((b"access-control-allow-private-network", b"true"))
    return response
