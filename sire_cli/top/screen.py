"""The live view on a terminal: drawn again at every report, resize and return of the daemon."""

import contextlib
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from sire.paths import Paths
from sire.protocol.replies import TopReport
from sire_cli.top.actions import ModelActions
from sire_cli.top.keyboard import Keyboard
from sire_cli.top.keys import Control
from sire_cli.top.poller import Poller
from sire_cli.top.view import frame


def show(console: Console, paths: Paths, first: TopReport, interval: float) -> None:
    """Draw on the alternate screen until ``q`` or Ctrl-C; the terminal is then as it was.

    Args:
        console: writes to the terminal.
        paths: where the daemon is.
        first: the report to begin with.
        interval: seconds between two reports.
    """
    with _doorbell() as (bell, ring), Keyboard() as keyboard:
        poller = Poller(paths, first, interval, ring)
        actions, control = ModelActions(paths, ring), Control()
        with (
            contextlib.suppress(KeyboardInterrupt),
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            poller.start()
            while not control.quit:
                seen = poller.seen
                drawn = frame(
                    seen.report,
                    *console.size,
                    lost=seen.lost,
                    footer=control.footer if control.typing else actions.words or control.footer,
                    control=control,
                    history=poller.history,
                )
                live.update(drawn, refresh=True)
                ready, _, _ = select.select([bell, *keyboard.descriptors], [], [])
                if bell in ready:
                    bell.recv(4096)
                pressed = keyboard.read() if {*ready} - {bell} else ""
                if pressed:
                    actions.forget()
                for action in control.press(pressed, seen.report):
                    actions.do(action, control.selected or "", seen.report)
        poller.stop()


@contextlib.contextmanager
def _doorbell() -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """A socket that becomes readable at a resize of the terminal, and what else rings it.

    SIGTERM ends the process through its context managers, so that the terminal is restored.
    """
    bell, button = socket.socketpair()
    with bell, button:
        button.setblocking(False)

        def ring() -> None:
            # A full buffer rings already, and a closed one has nobody to hear it.
            with contextlib.suppress(OSError):
                button.send(b"!")

        signal.set_wakeup_fd(button.fileno(), warn_on_full_buffer=False)
        before = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate),
        }
        try:
            yield bell, ring
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _terminate(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)
