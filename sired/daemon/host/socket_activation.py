"""The front socket where systemd opened it for us (sd_listen_fds(3)).

1. systemd listens, and starts us when somebody connects; what they send waits in the socket.
2. Who is the daemon the lock decides, here as ever: whoever holds it takes the socket, and one that
   systemd starts beside another daemon exits.
3. A daemon that was not given a socket takes no path that somebody listens at: it would leave
   systemd with a socket that nobody can find. Clients do not start one there either
   (``sire/client/autostart.py``): to connect is enough.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

from sire.errors import DaemonUnavailable, InvalidConfiguration

# Where they begin, says sd_listen_fds(3).
FIRST_DESCRIPTOR = 3
# Longer than the end of a killed daemon takes, between its lock and its sockets.
_PATIENCE_SECONDS = 0.5


def passed_socket(path: Path, environment: MutableMapping[str, str]) -> int | None:
    """The listening socket that systemd passed us; None if we are to open one ourselves.

    What says so is taken out of the environment: our children were passed nothing.

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
            f"one was expected, a Unix stream socket that listens at {path}.",
            hint=f"Have this one line in the socket's unit: ListenStream={path}",
        )
    _, given = passed[0]
    given.setblocking(False)
    return given.detach()


def _passed(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Name and socket of every descriptor that was passed to this very process."""
    pid, count, names = (environment.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    called = names.split(":")
    passed = []
    for number in range(int(count)):
        descriptor = FIRST_DESCRIPTOR + number
        name = called[number] if number < len(called) and called[number] else str(descriptor)
        try:
            os.set_inheritable(descriptor, False)
            passed.append((name, socket.socket(fileno=descriptor)))
        except OSError as problem:
            raise InvalidConfiguration(
                f"The descriptor {name} that was passed is no socket: {problem.strerror}.",
                hint="See LISTEN_FDS in sd_listen_fds(3).",
            ) from None
    return passed


def _listens_at(given: socket.socket, path: Path) -> bool:
    """Whether it is a Unix stream socket that listens at a path."""
    return (
        given.family == socket.AF_UNIX
        and given.type == socket.SOCK_STREAM
        and bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        and given.getsockname() == str(path)
    )


def check_nobody_listens(path: Path) -> None:
    """Make sure that the path is free, or a dead daemon's.

    Raises:
        DaemonUnavailable: it is not.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE_SECONDS)
        try:
            probe.connect(str(path))
            if not probe.recv(1):
                return
        except TimeoutError:
            pass  # it is taken up later, and whoever does that speaks first
        except OSError:
            return
    raise DaemonUnavailable(
        f"Somebody listens at {path} already and is no daemon: systemd, probably.",
        hint="Let it start the daemon: systemctl --user start sired",
    )
