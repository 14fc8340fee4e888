"""Where the gateway of another machine is."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sire.errors import InvalidConfiguration

KEY_VARIABLE = "SIRE_KEY"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """The URL of a gateway in parts, and the API key to send.

    Attributes:
        scheme: http or https.
        host: a name or an IP address.
        port: the URL's, or that of the scheme.
        path: what precedes every path; "" for nothing.
        key: the API key; "" for none.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    key: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL without the key."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def gateway_address(url: str, key: str | None = None) -> GatewayAddress:
    """The parts of a URL.

    Args:
        url: like ``https://box:8470``; a path is what a proxy puts before the gateway's.
        key: the API key; None for that in ``SIRE_KEY``.

    Raises:
        InvalidConfiguration: it is not the URL of a gateway.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise _not_valid(url, str(problem)) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _not_valid(url, "it must begin with http:// or https:// and a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise _not_valid(url, "it may have a host, a port and a path only")
    key = os.environ.get(KEY_VARIABLE, "") if key is None else key
    if not (key.isascii() and key.isprintable()):
        raise InvalidConfiguration("The API key has characters that no key has.")
    return GatewayAddress(
        parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path.rstrip("/"), key
    )


def _not_valid(url: str, why: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"{url!r} is not the URL of a gateway: {why}.", hint="Example: http://box:8470"
    )
