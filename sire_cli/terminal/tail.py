"""The end of a file that somebody writes to, and what comes after it."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_LOOK_SECONDS = 0.2
# More than are kept of any log.
_ASIDE = 9


def kept_lines(path: Path, seen: int, most: int | None = None) -> list[bytes]:
    """The last lines of a log, also of what was put aside when it was full (``.1``, ``.2``, …).

    Args:
        path: of the log.
        seen: bytes of it to look at.
        most: how many lines; None for all.
    """
    lines: list[bytes] = []
    with suppress(FileNotFoundError), path.open("rb") as file:
        lines = file.read(seen).splitlines(keepends=True)
    aside = (path.with_name(f"{path.name}.{number}") for number in range(1, _ASIDE + 1))
    for full in filter(Path.exists, aside):
        if most is not None and len(lines) >= most:
            break
        lines = full.read_bytes().splitlines(keepends=True) + lines
    return lines if most is None else lines[-most:] if most > 0 else []


def new_lines(path: Path, seen: int) -> Iterator[bytes]:
    """Lines as they are added, for ever; also when the file is begun anew or another one.

    Args:
        path: of the file; it may not be there yet.
        seen: bytes of it that are known.
    """
    while not path.exists():
        time.sleep(_LOOK_SECONDS)
    file = path.open("rb")
    file.seek(seen)
    while True:
        yield from _rest(file)
        if _replaced(path, file):
            yield from _rest(file)  # what was written before it was put aside
            file.close()
            file = path.open("rb")
        else:
            time.sleep(_LOOK_SECONDS)


def _rest(file: BinaryIO) -> Iterator[bytes]:
    """What has been added, up to the last end of a line."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), 1)
            return
        yield line


def _replaced(path: Path, file: BinaryIO) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:  # between its putting aside and the next line
        return False
    if os.path.samestat(found, os.fstat(file.fileno())):
        if found.st_size < file.tell():
            file.seek(0)  # it was emptied
        return False
    return True
