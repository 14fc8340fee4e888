"""The last lines of a log file, and the lines that are added to it."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.2
# More rotated files than any log keeps.
_MOST_ROTATED = 9


def last_lines(path: Path, size: int, most: int | None = None) -> list[bytes]:
    """The last lines of a log, including its rotated files (``.1``, ``.2``, …).

    Args:
        path: of the log.
        size: number of bytes to read from it.
        most: number of lines; None for all.
    """
    lines: list[bytes] = []
    with suppress(FileNotFoundError), path.open("rb") as file:
        lines = file.read(size).splitlines(keepends=True)
    rotated = (path.with_name(f"{path.name}.{number}") for number in range(1, _MOST_ROTATED + 1))
    for older in filter(Path.exists, rotated):
        if most is not None and len(lines) >= most:
            break
        lines = older.read_bytes().splitlines(keepends=True) + lines
    return lines if most is None else lines[-most:] if most > 0 else []


def new_lines(path: Path, offset: int) -> Iterator[bytes]:
    """Yield lines as they are appended, endlessly; follows rotation and truncation.

    Args:
        path: of the file, which need not exist yet.
        offset: number of bytes to skip.
    """
    while not path.exists():
        time.sleep(_POLL_SECONDS)
    file = path.open("rb")
    file.seek(offset)
    while True:
        yield from _complete_lines(file)
        if _replaced(path, file):
            yield from _complete_lines(file)  # lines written before the rotation
            file.close()
            file = path.open("rb")
        else:
            time.sleep(_POLL_SECONDS)


def _complete_lines(file: BinaryIO) -> Iterator[bytes]:
    """Appended lines up to the last line end; the position stays before an incomplete line."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), 1)
            return
        yield line


def _replaced(path: Path, file: BinaryIO) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:  # between rotation and the next line
        return False
    if os.path.samestat(found, os.fstat(file.fileno())):
        if found.st_size < file.tell():
            file.seek(0)  # the file was truncated
        return False
    return True
