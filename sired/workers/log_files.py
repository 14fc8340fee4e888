"""Log files that do not fill the disk, however much a worker prints.

A worker has its log open and must never block: it cannot be switched to another file, and a pipe
could block it. So the daemon truncates the file that the worker appends to.
"""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

LONGEST = 10 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
# The output of Python's faulthandler when a signal kills the process.
_FATAL, _INNERMOST = "Fatal Python error:", "Current thread"


class _LossyFile(io.FileIO):
    """A file whose writes never fail; data that cannot be written is lost."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def lossy_stream(descriptor: int) -> TextIO:
    """A line-buffered stream on a descriptor, whose writes never fail.

    A full disk must not break a model that prints something.
    """
    raw = _LossyFile(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), "utf-8", errors="backslashreplace", line_buffering=True
    )


def trim(log: Path) -> bool:
    """Copy the end of a log that is too long to ``.log.1`` and truncate it; returns whether it was.

    Output that is appended goes to the new end of the file. The copy replaces the previous one.
    """
    try:
        size = log.stat().st_size
        if size <= LONGEST:
            return False
        with contextlib.suppress(OSError):  # the disk is full, so truncating is all the more urgent
            _copy_end(log, log.with_suffix(".log.1"), size)
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


def trim_all(logs: Iterable[Path]) -> bool:
    """Trim several logs; returns whether any of them was too long."""
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
    """The last lines of a log after byte ``since``; of a crash, its innermost calls."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # It may have been truncated meanwhile.
            file.seek(max(since if since <= end else 0, end - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return _relevant([line for line in text.splitlines() if line.strip()], count)


def _relevant(lines: list[str], count: int) -> list[str]:
    fatal = max((n for n, line in enumerate(lines) if line.startswith(_FATAL)), default=None)
    if fatal is None:
        return lines[-count:]
    calls = next((n for n in range(fatal, len(lines)) if lines[n].startswith(_INNERMOST)), fatal)
    before = lines[max(0, fatal - 2) : fatal + 1]
    return [*before, *lines[calls + 1 :][: count - len(before)]]
