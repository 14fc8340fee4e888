"""The live view on a terminal, redrawn at every report, resize and key press."""

import contextlib
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from sire.protocol.replies import TopReport
from sire_cli.top.actions import ModelActions
from sire_cli.top.keyboard import Keyboard
from sire_cli.top.keys import Control
from sire_cli.top.poller import Poller
from sire_cli.top.view import frame


def show(console: Console, first: TopReport, interval: float) -> None:
    """Draw on the alternate screen until ``q`` or Ctrl-C, then restore the terminal.

    Args:
        console: writes to the terminal.
        first: the first report.
        interval: seconds between reports.
    """
    with _wakeup_socket() as (wakeup, wake), Keyboard() as keyboard:
        poller = Poller(first, interval, wake)
        actions, control = ModelActions(wake), Control()
        with (
            contextlib.suppress(KeyboardInterrupt),
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            poller.start()
            while not control.quit:
                latest = poller.latest
                drawing = frame(
                    latest.report,
                    *console.size,
                    outdated=latest.outdated,
                    footer=control.footer if control.typing else actions.message or control.footer,
                    control=control,
                    history=poller.history,
                )
                live.update(drawing, refresh=True)
                ready, _, _ = select.select([wakeup, *keyboard.descriptors], [], [])
                if wakeup in ready:
                    wakeup.recv(4096)
                pressed = keyboard.read() if {*ready} - {wakeup} else ""
                if pressed:
                    actions.dismiss()
                for action in control.press(pressed, latest.report):
                    actions.start(action, control.selected or "", latest.report)
        poller.stop()


@contextlib.contextmanager
def _wakeup_socket() -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """A socket that becomes readable when the terminal is resized, and a function that wakes it.

    SIGTERM exits through the context managers, so that the terminal is restored.
    """
    wakeup, sender = socket.socketpair()
    with wakeup, sender:
        sender.setblocking(False)

        def wake() -> None:
            # If the buffer is full, the socket is readable already; a closed one is not needed.
            with contextlib.suppress(OSError):
                sender.send(b"!")

        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        before = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate),
        }
        try:
            yield wakeup, wake
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _terminate(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)
