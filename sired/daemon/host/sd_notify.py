"""Telling systemd how we are (sd_notify(3)); silent where it does not ask."""

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

# systemd takes us for dead after the whole interval; sd_watchdog_enabled(3) recommends half of it.
_IN_ONE_INTERVAL = 2


class Notifier:
    """Speaks to the service manager that started us, if one did.

    Args:
        environment: of this process; what is only for us is taken out of it, so that no model
            speaks for the daemon.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        interval = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self._interval = int(interval) / 1e6 if meant and interval.isdecimal() else 0.0

    def say(self, state: str) -> None:
        """Send a state such as ``READY=1``; nobody waits for it to be read."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as manager, contextlib.suppress(OSError):
            # "@" stands for the NUL that begins an abstract address.
            address = self._address
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.sendall(state.encode())

    def keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell the watchdog again and again that the loop goes round, if it does."""
        if self._interval > 0:
            self.say("WATCHDOG=1")
            loop.call_later(self._interval / _IN_ONE_INTERVAL, self.keep_alive, loop)
