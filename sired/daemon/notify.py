"""Telling systemd how we are (sd_notify(3)); silent where it does not ask."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to the service manager that started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        # "@" stands for the NUL that begins an abstract address.
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.sendall(state.encode())
