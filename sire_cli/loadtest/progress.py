"""A progress line on stderr if it is a terminal, and Ctrl-C, which ends a load test early.

Written without a library, because one that draws in its own thread would disturb the measurement.
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
def progress_line(
    requests: int | None, seconds: float | None
) -> Iterator[Callable[[LoadTestProgress], bool]]:
    """Show the progress of a load test; yields a function that returns False after Ctrl-C.

    A second Ctrl-C interrupts as usual.
    """
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, before)

    def show(progress: LoadTestProgress) -> bool:
        if visible:
            sys.stderr.write(_ERASE + _line(progress, requests, seconds)[: _columns() - 1])
            sys.stderr.flush()
        return not interrupted

    visible = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield show
    finally:
        signal.signal(signal.SIGINT, before)
        if visible:
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
