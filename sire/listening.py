"""Listening sockets: opened at an address, or passed by a service manager."""

import errno
import ipaddress
import os
import socket
from collections.abc import MutableMapping
from typing import NamedTuple

from sire.errors import InvalidConfiguration, shown

DEFAULT_LISTEN = "127.0.0.1:8470"
_LARGEST_PORT = 65535
_BACKLOG = 1024
# The first passed descriptor, according to sd_listen_fds(3).
FIRST_DESCRIPTOR = 3


class Address(NamedTuple):
    """A host's IP address and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str, option: str = "--listen") -> Address:
    """Read an address like ``127.0.0.1:8470``, ``[::1]:8470``, ``localhost:8470`` or ``8470``.

    Raises:
        InvalidConfiguration: it is not an address.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
    if not (port.isdecimal() and len(port) < 6 and int(port) <= _LARGEST_PORT):
        raise _invalid(text, option)
    host = {"localhost": "127.0.0.1", "": "0.0.0.0"}.get(host, host)  # noqa: S104 (takes keys)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise _invalid(text, option) from None
    return Address(host, int(port))


def _invalid(text: str, option: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"{option}: {shown(text)} is not an IP address and a port.",
        hint=f"Write it like {DEFAULT_LISTEN}.",
    )


def listen(address: Address, option: str = "--listen") -> tuple[socket.socket, Address]:
    """Open a listening socket; returns it and its address, whose port the system chose if it was 0.

    Raises:
        InvalidConfiguration: the port is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError as problem:
        opened.close()
        hint = f"Listen on another port: {option} 127.0.0.1:PORT; 0 takes any that is free."
        if problem.errno == errno.EADDRINUSE:
            hint = f"Another process listens there. {hint}"
        raise InvalidConfiguration(
            f"Cannot listen on {address.authority}: {problem.strerror}.", hint=hint
        ) from None
    opened.setblocking(False)
    return opened, Address(address.host, opened.getsockname()[1])


def passed_sockets(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Name and socket of each descriptor that was passed to this very process (sd_listen_fds(3)).

    The variables that announce them are removed from the environment, because child processes are
    passed nothing.

    Raises:
        InvalidConfiguration: a descriptor is not a socket.
    """
    pid, count, names = (environment.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    given_names = names.split(":")
    passed = []
    for number in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + number
        named = number < len(given_names) and given_names[number]
        name = given_names[number] if named else str(descriptor)
        try:
            os.set_inheritable(descriptor, False)
            passed.append((name, socket.socket(fileno=descriptor)))
        except OSError as problem:
            raise InvalidConfiguration(
                f"The descriptor {name} that systemd passed is not a socket: {problem.strerror}.",
                hint="See LISTEN_FDS in sd_listen_fds(3).",
            ) from None
    return passed


def address_of(given: socket.socket) -> Address:
    """The address at which a TCP socket listens.

    Raises:
        InvalidConfiguration: it is of another kind, or does not listen.
    """
    of_ip = given.family in (socket.AF_INET, socket.AF_INET6)
    if not (of_ip and given.type == socket.SOCK_STREAM and _listens(given)):
        raise InvalidConfiguration(
            "The socket that was passed is not a TCP socket that listens.",
            hint="In a systemd socket unit: ListenStream=127.0.0.1:8470",
        )
    host, port = given.getsockname()[:2]
    return Address(host, port)


def _listens(given: socket.socket) -> bool:
    return bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
