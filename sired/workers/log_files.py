"""Logs that do not fill the disk, however much is printed.

Whoever prints has the file open and never waits: it cannot be given another file, and a pipe would
make it wait. So what it has printed is taken out of the file beneath it.
"""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

LONGEST = 10 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
# What faulthandler(3) writes when the process dies of a signal.
_FATAL, _INNERMOST = "Fatal Python error:", "Current thread"


class _Forgiving(io.FileIO):
    """A file that takes everything, and what the disk does not take is lost."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def forgiving(descriptor: int) -> TextIO:
    """A stream that prints to a descriptor line by line, and never fails.

    A full disk must not keep a model from its work that says something meanwhile.
    """
    raw = _Forgiving(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), "utf-8", errors="backslashreplace", line_buffering=True
    )


def trim(log: Path) -> bool:
    """Put the end of a log aside and empty it, if it is too long; returns whether it was.

    What is appended to the file goes to its new end. What is put aside replaces what was.
    """
    try:
        size = log.stat().st_size
        if size <= LONGEST:
            return False
        with contextlib.suppress(OSError):  # the disk is full: all the more reason
            _copy_end(log, log.with_suffix(".log.1"), size)
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def trim_all(logs: Iterable[Path]) -> bool:
    """Trim several; returns whether any of them was too long."""
    return sum(map(trim, logs)) > 0


def _copy_end(log: Path, aside: Path, size: int) -> None:
    source = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        target = os.open(aside, flags, 0o600)
        try:
            at = size - LONGEST
            while at < size and (copied := os.sendfile(target, source, at, size - at)):
                at += copied
        finally:
            os.close(target)
    finally:
        os.close(source)


def last_lines(log: Path, since: int, count: int) -> list[str]:
    """The last lines of a log, none from before byte ``since``; of a crash, its innermost calls."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # It may have been emptied meanwhile.
            file.seek(max(since if since <= end else 0, end - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return _telling([line for line in text.splitlines() if line.strip()], count)


def _telling(lines: list[str], count: int) -> list[str]:
    fatal = max((n for n, line in enumerate(lines) if line.startswith(_FATAL)), default=None)
    if fatal is None:
        return lines[-count:]
    calls = next((n for n in range(fatal, len(lines)) if lines[n].startswith(_INNERMOST)), fatal)
    before = lines[max(0, fatal - 2) : fatal + 1]
    return [*before, *lines[calls + 1 :][: count - len(before)]]
