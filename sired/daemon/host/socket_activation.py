"""The front socket where systemd has opened it (sd_listen_fds(3)).

1. systemd listens, and starts the daemon when a client connects; what the client sends waits in
   the socket.
2. The lock decides which process is the daemon, here as elsewhere: its holder takes the socket, and
   a daemon that systemd starts beside another one exits.
3. A daemon that was not passed a socket does not bind a path at which another process listens:
   systemd would keep a socket that no client can reach. Clients do not start a daemon there either
   (``sire/client/autostart.py``): connecting is enough.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

from sire.errors import DaemonUnavailable, InvalidConfiguration

# The first passed descriptor, according to sd_listen_fds(3).
FIRST_DESCRIPTOR = 3
# Longer than a killed daemon takes to end, from releasing its lock to closing its sockets.
_PATIENCE_SECONDS = 0.5


def passed_socket(path: Path, environment: MutableMapping[str, str]) -> int | None:
    """The listening socket that systemd has passed to this process; None to open one.

    The variables that announce it are removed from the environment, because child processes are
    passed nothing.

    Args:
        path: where the front socket belongs.
        environment: of this process.

    Raises:
        InvalidConfiguration: what was passed is not that socket.
    """
    passed = _passed(environment)
    if not passed:
        return None
    if len(passed) > 1 or not _listens_at(passed[0][1], path):
        names = ", ".join(name for name, _ in passed)
        raise InvalidConfiguration(
            f"systemd passed {len(passed)} sockets ({names}); "
            f"expected exactly one, a Unix stream socket that listens at {path}.",
            hint=f"Use exactly one ListenStream= line in the socket unit: ListenStream={path}",
        )
    _, given = passed[0]
    given.setblocking(False)
    return given.detach()


def _passed(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Name and socket of each descriptor that was passed to this very process."""
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


def _listens_at(given: socket.socket, path: Path) -> bool:
    """Whether a socket is a Unix stream socket that listens at a path."""
    return (
        given.family == socket.AF_UNIX
        and given.type == socket.SOCK_STREAM
        and bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        and given.getsockname() == str(path)
    )


def check_not_in_use(path: Path) -> None:
    """Check that the path is free, or a dead daemon's.

    Raises:
        DaemonUnavailable: another process listens there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_SECONDS)
        try:
            probe.connect(str(path))
            if not probe.recv(1):
                return
        except TimeoutError:
            pass  # the connection waits for a daemon to accept it, which would send first
        except OSError:
            return
    raise DaemonUnavailable(
        f"Another process that is not a sired daemon, probably systemd, listens at {path}.",
        hint="Let systemd start the daemon: systemctl --user start sired",
    )
