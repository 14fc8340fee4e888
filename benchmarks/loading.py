"""How fast models come into memory: from the disk, beside a plain read of the file, and from cache.

The file is put out of the page cache before each turn, and turns alternate, so that what the disk
is doing besides meets both alike.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks import models
from benchmarks.report import Figure
from benchmarks.timing import median, timed
from sire.client.connection import Connection
from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load, Register, Unload
from sire.spec import ModelSpec

GIB = 1024**3
TURNS = 5
_READ_BYTES = 1024 * 1024
_NAME = "large"


def loading(directory: Path) -> Iterator[Figure]:
    """Load a file of 1 GiB, and read it plainly; seconds, and the share of the plain read's speed.

    Args:
        directory: where the file is written; it should lie on the disk that is to be measured.
    """
    file = directory / f"{_NAME}.safetensors"
    save_file({"table": torch.ones(GIB // 4)}, file)
    spec = ModelSpec(
        name=_NAME, path=str(file), model_class=f"{models.__file__}:{models.Table.__name__}"
    )
    with Connection(autostart=False) as connection:
        connection.ask(Register(model=spec))
        _load(connection)  # what is imported for the first time is imported now
        reads, loads = [], []
        for _ in range(TURNS):
            _put_out_of_memory(file)
            reads.append(timed(lambda: _read(file)))
            connection.ask(Unload(name=_NAME))
            _put_out_of_memory(file)
            loads.append(_load(connection))
        cached = []
        for _ in range(TURNS):
            connection.ask(Unload(name=_NAME))
            cached.append(_load(connection))
        connection.ask(Unload(name=_NAME))
    file.unlink()
    # At 80 % of the speed it takes 1.25 times as long.
    read = median(reads)
    yield Figure("1 GiB from the disk: plain read, p50", read, "s")
    yield Figure("1 GiB from the disk: load, p50", median(loads), "s", read, 1.25 * read)
    yield Figure("1 GiB from the page cache: load, p50", median(cached), "s")


def _load(connection: Connection) -> float:
    """Load it; returns the seconds it took, as the client sees it."""
    return timed(lambda: connection.expect(InstanceInfo, Load(name=_NAME)))


def _put_out_of_memory(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(file: Path) -> None:
    """Read it from beginning to end, as a copy would."""
    buffer = bytearray(_READ_BYTES)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
