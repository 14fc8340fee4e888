"""Telling systemd how we are (sd_notify(3)); silent where it does not ask."""

import logging
import os
import socket

log = logging.getLogger(__name__)

# Read once: workers, who have our environment, are not to speak in our name.
_ADDRESS = os.environ.get("NOTIFY_SOCKET", "")


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to the service manager that started us."""
    if not _ADDRESS:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            # "@" stands for the NUL that begins an abstract address.
            manager.connect("\0" + _ADDRESS[1:] if _ADDRESS.startswith("@") else _ADDRESS)
            manager.sendall(state.encode())
        except OSError as problem:  # inherited from a service that has ended, perhaps
            log.warning("cannot tell the service manager %s: %s", state, problem)
