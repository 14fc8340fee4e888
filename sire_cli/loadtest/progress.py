"""How far a load is, on stderr where a person watches; and ^C, which ends it early.

It is drawn by hand: a library that draws in a thread of its own would hold up what is measured.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sire.units import format_duration
from sire_cli.loadtest.driver import LoadTestProgress

_WIDTH = 24
_ERASE = "\r\x1b[K"


@contextmanager
def gauge(
    requests: int | None, seconds: float | None
) -> Iterator[Callable[[LoadTestProgress], bool]]:
    """Show how far a load is; what is yielded takes that, and says whether ^C was not pressed.

    The second ^C interrupts as usual.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    def show(progress: LoadTestProgress) -> bool:
        if drawn:
            sys.stderr.write(_ERASE + _line(progress, requests, seconds)[: _columns() - 1])
            sys.stderr.flush()
        return not pressed

    drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    before = signal.signal(signal.SIGINT, press)
    try:
        yield show
    finally:
        signal.signal(signal.SIGINT, before)
        if drawn:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


def _line(progress: LoadTestProgress, requests: int | None, seconds: float | None) -> str:
    bar = ("#" * round(progress.fraction * _WIDTH)).ljust(_WIDTH, ".")
    of_time = f" of {format_duration(seconds)}" if seconds else ""
    of_requests = f" of {requests}" if requests else ""
    errors = f", {progress.errors} errors" if progress.errors else ""
    waiting = f", {progress.open} open" if progress.open else ""
    elapsed = format_duration(progress.seconds)
    return f"[{bar}] {elapsed}{of_time}, {progress.requests}{of_requests} sent{waiting}{errors}"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
