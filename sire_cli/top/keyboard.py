"""Key presses from a terminal, without Enter and without echo."""

import os
import sys
import termios
import tty
from types import TracebackType
from typing import Self

from sire_cli.top.keys import CLOSED


class Keyboard:
    """A context manager for unbuffered key presses; none if stdin is not a terminal."""

    def __init__(self) -> None:
        self.descriptors = [sys.stdin.fileno()] if sys.stdin and sys.stdin.isatty() else []
        self._before = [termios.tcgetattr(fd) for fd in self.descriptors]

    def __enter__(self) -> Self:
        for fd in self.descriptors:
            # Ctrl-C stays a signal; Ctrl-Z would leave the shell on the alternate screen.
            tty.setcbreak(fd)
            attributes = termios.tcgetattr(fd)
            attributes[6][termios.VSUSP] = b"\0"
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for fd, before in zip(self.descriptors, self._before, strict=True):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)

    def read(self) -> str:
        """The keys pressed since the last call; ``CLOSED`` if the terminal was closed."""
        return os.read(self.descriptors[0], 64).decode(errors="replace") or CLOSED
