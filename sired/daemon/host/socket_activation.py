"""The front socket where systemd has opened it (sd_listen_fds(3)).

1. systemd listens, and starts the daemon when a client connects; what the client sends waits in
   the socket.
2. The lock decides which process is the daemon, here as elsewhere: its holder takes the socket, and
   a daemon that systemd starts beside another one exits.
3. A daemon that was not passed a socket does not bind a path at which another process listens:
   systemd would keep a socket that no client can reach. Clients do not start a daemon there either
   (``sire/client/autostart.py``): connecting is enough.
"""

import socket
from collections.abc import MutableMapping
from pathlib import Path

from sire.errors import DaemonUnavailable, InvalidConfiguration
from sire.listening import passed_sockets

# Longer than a killed daemon takes to end, from releasing its lock to closing its sockets.
_PATIENCE_SECONDS = 0.5


def passed_socket(path: Path, environment: MutableMapping[str, str]) -> int | None:
    """The listening socket that systemd has passed to this process; None to open one.

    Args:
        path: where the front socket belongs.
        environment: of this process.

    Raises:
        InvalidConfiguration: what was passed is not that socket.
    """
    passed = passed_sockets(environment)
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
