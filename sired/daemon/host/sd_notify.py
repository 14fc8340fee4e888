"""Notifications for systemd (sd_notify(3)); nothing is sent unless systemd requests them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

# systemd gives up on the daemon after the whole interval; sd_watchdog_enabled(3) recommends half.
_PER_INTERVAL = 2


class Notifier:
    """Sends notifications to the service manager that started this process, if one did.

    Args:
        environment: of this process. The variables meant for it alone are removed, so that no
            model can send notifications for the daemon.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        interval = environment.pop("WATCHDOG_USEC", "")
        for_us = environment.pop("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self._interval = int(interval) / 1e6 if for_us and interval.isdecimal() else 0.0

    def notify(self, state: str) -> None:
        """Send a state such as ``READY=1``, without waiting for it to be read."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as manager, contextlib.suppress(OSError):
            # "@" stands for the NUL that begins an abstract address.
            address = self._address
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.sendall(state.encode())

    def keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Notify the watchdog regularly for as long as the event loop is responsive."""
        if self._interval > 0:
            self.notify("WATCHDOG=1")
            loop.call_later(self._interval / _PER_INTERVAL, self.keep_alive, loop)
