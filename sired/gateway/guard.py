"""Which requests the gateway takes: those addressed to this machine, and not sent by a web page.

A page in the user's browser can have requests sent to any address, and by a name that resolves to
127.0.0.1 (DNS rebinding) read the answers. Such a request has that name as its Host; requests of
pages have an Origin.
"""

import ipaddress
from functools import lru_cache

from starlette.types import Scope

from sired.gateway.cors import Cors
from sired.gateway.errors import HttpError


def check_sender(scope: Scope, cors: Cors, *, any_host: bool = False) -> None:
    """Refuse a request that was not meant for this machine, or comes from a page of another site.

    Args:
        scope: of the request.
        cors: the other sites whose pages are allowed.
        any_host: whether the machine may be addressed by any name, because a key is demanded, which
            a page cannot have.

    Raises:
        HttpError: it is one.
    """
    host, origin = header(scope, b"host"), header(scope, b"origin")
    if host and not any_host and not _is_loopback(host):
        raise HttpError(
            403,
            "The header Host of the request names another machine.",
            hint="Use http://127.0.0.1 or http://localhost.",
        )
    if origin and origin not in {f"http://{host}", f"https://{host}"} and not cors.allows(origin):
        raise HttpError(
            403,
            "The request comes from a web page of another site (its header Origin).",
            hint="Have the page's own server send it, or allow it: sire serve --cors ORIGIN",
        )


def header(scope: Scope, wanted: bytes) -> str:
    """The last header of a name; "" if there is none."""
    found = ""
    for name, value in scope["headers"]:
        if name == wanted:
            found = value.decode("latin-1")
    return found


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    """Whether an authority, a host perhaps with a port, is this machine's loopback interface."""
    name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host
    name = name if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
