"""How the gateway serves: its address, and what it demands of those who connect."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sire.errors import InvalidConfiguration
from sire.keys import KeyFile
from sire.listening import Address, address_of, listen, parse_listen
from sire.paths import find_paths
from sire.units import parse_duration
from sired.gateway.cors import NO_CORS, Cors, cors_of
from sired.gateway.keys import Keys
from sired.gateway.loading import DEFAULT_LOADING_WAIT


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What ``sire serve`` was asked for.

    Attributes:
        addresses: to listen on, with ``sockets``, those of them that are open already.
        names: the models to serve and to load; empty for all, loaded as they are requested.
        keys: the keys that are demanded; None for none.
        certificate: a file with the certificate chain for TLS, and ``private_key`` the file with
            its key; None for plain HTTP.
        loading_wait: seconds that a request waits while its model is not loaded.
        cors: the other sites whose pages may use it.
        grpc: to listen on for gRPC; None for HTTP alone.
        timeout: seconds for requests that state none; None for the daemon's default.
    """

    addresses: tuple[Address, ...]
    sockets: tuple[socket.socket, ...] = ()
    names: tuple[str, ...] = ()
    keys: Keys | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    loading_wait: float = DEFAULT_LOADING_WAIT
    cors: Cors = NO_CORS
    grpc: Address | None = None
    timeout: float | None = None

    @property
    def scheme(self) -> str:
        """Of the URLs."""
        return "http" if self.certificate is None else "https"

    def listen(self) -> list[tuple[socket.socket, Address]]:
        """Sockets that listen, each with its address.

        Raises:
            InvalidConfiguration: an address cannot be used.
        """
        if self.sockets:
            for one in self.sockets:
                one.setblocking(False)
            return list(zip(self.sockets, self.addresses, strict=True))
        return [listen(address) for address in self.addresses]


def serve_options(
    given_address: str,
    names: list[str],
    keys: str | None,
    certificate: str | None,
    private_key: str | None,
    loading_wait: str | None = None,
    cors: list[str] | None = None,
    grpc: str | None = None,
    sockets: Sequence[socket.socket] = (),
    timeout: str | None = None,
) -> ServeOptions:
    """The options, checked.

    Args:
        given_address: the address as it was given.
        names: of the models.
        keys: the file of the keys; None for none on the loopback interface, and for the default one
            elsewhere.
        certificate: the file with the certificate chain; None for plain HTTP.
        private_key: the file with its key.
        loading_wait: how long a request waits while its model is not loaded; None for the default.
        cors: the origins of other sites whose pages may use it.
        grpc: the address for gRPC as it was given; None for HTTP alone.
        sockets: passed to this process; if there are any, ``given_address`` does not matter.
        timeout: of requests that state none; None for the daemon's default.

    Raises:
        InvalidConfiguration: one of them is not valid, other machines could connect and there are
            no keys, or a file is missing.
    """
    addresses = tuple(map(address_of, sockets)) or (parse_listen(given_address),)
    grpc_address = None if grpc is None else parse_listen(grpc, "--grpc")
    if (certificate is None) != (private_key is None):
        raise InvalidConfiguration(
            "TLS takes both --tls-cert and --tls-key.", hint="Give a certificate and its key."
        )
    for given in (certificate, private_key):
        if given is not None and not Path(given).is_file():
            raise InvalidConfiguration(f"There is no file {given}.")
    demanded = _keys((*addresses, *((grpc_address,) if grpc_address else ())), keys)
    return ServeOptions(
        addresses,
        tuple(sockets),
        tuple(dict.fromkeys(names)),
        demanded,
        None if certificate is None else Path(certificate),
        None if private_key is None else Path(private_key),
        DEFAULT_LOADING_WAIT if loading_wait is None else parse_duration(loading_wait),
        cors_of(cors or [], has_keys=demanded is not None),
        grpc_address,
        None if timeout is None else parse_duration(timeout),
    )


def _keys(addresses: tuple[Address, ...], given: str | None) -> Keys | None:
    if given is not None:
        return Keys(KeyFile(Path(given)))
    address = next((one for one in addresses if not one.is_loopback), None)
    if address is None:
        return None
    try:
        return Keys(KeyFile(find_paths().keys))
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(
            f"Other machines could connect to {address.authority}. {problem.message}",
            hint=f"{problem.hint}. Or listen on 127.0.0.1, and reach it from elsewhere by: "
            f"ssh -L {address.port}:127.0.0.1:{address.port} HOST",
        ) from None
