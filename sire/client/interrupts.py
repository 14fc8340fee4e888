"""Interrupts (Ctrl-C) that wait until a message has been sent whole.

Python raises ``KeyboardInterrupt`` between any two operations of the main thread. If it came
between sending a message and noting that it was sent, the client would not know whether the daemon
has it, so it could not be cancelled.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_MAIN = threading.main_thread().ident


class Uninterrupted:
    """A context in which SIGINT waits; its handler is called at the end.

    In other threads than the main one, which are never interrupted, it does nothing. It can be
    entered again and again, but not within itself.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._arrived: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> None:
        """Note interrupts from now on."""
        if threading.get_ident() == _MAIN and callable(signal.getsignal(signal.SIGINT)):
            self._handler = signal.signal(signal.SIGINT, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Handle an interrupt that has arrived meanwhile."""
        if self._handler is None or threading.get_ident() != _MAIN:
            return
        handler, self._handler = self._handler, None
        signal.signal(signal.SIGINT, handler)
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            handler(*arrived)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived = number, frame
