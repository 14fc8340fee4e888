"""Streams weights from a file to a GPU, at the speed of the disk or of the bus.

Weights copied from mapped memory are read page by page: pages that the kernel has not read yet
stall the copy, and memory that is not pinned is copied twice by the driver. Here two threads read
pieces of the file into pinned buffers. Each thread has two, so that it reads one while the other is
copied to the GPU. Main memory is needed for the buffers only, whatever the size of the model.

Floats that are wanted in another dtype are converted piece by piece, so that the GPU never holds
the weights twice.
"""

import json
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch
from safetensors import safe_open

# The dtype of each name in the file; the table has no public name.
from safetensors.torch import _TYPES as _DTYPES

from sire.errors import InvalidModel
from sired.runtimes.reading import PIECE_BYTES, THREAD_THRESHOLD_BYTES, ReadProgress

_LENGTH_BYTES = 8
# One reads while the other issues copies.
_THREADS = 2
# Weights of eight bits and fewer come with scales, and are not mere numbers.
_CONVERTED = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})


@dataclass(frozen=True, slots=True)
class _Target:
    """The destination of the file's bytes from ``start`` to ``end``.

    Attributes:
        numbers: flat, on the device.
        dtype: of the numbers in the file.
    """

    start: int
    end: int
    numbers: torch.Tensor
    dtype: torch.dtype

    def whole(self, end: int) -> int:
        """The end of the last whole number before byte ``end`` of the file."""
        return (
            end - (end - self.start) % self.dtype.itemsize if self.start < end < self.end else end
        )

    def copy(self, start: int, piece: torch.Tensor) -> None:
        """Copy whole numbers from a piece of the file that begins at byte ``start``."""
        count, first = (
            len(piece) // self.dtype.itemsize,
            (start - self.start) // self.dtype.itemsize,
        )
        there = self.numbers[first : first + count]
        if there.dtype == self.dtype:
            there.view(torch.uint8).copy_(piece, non_blocking=True)
            return
        # Views of another dtype must be aligned, which the piece need not be.
        read = torch.empty(count, dtype=self.dtype, device=there.device)
        read.view(torch.uint8).copy_(piece, non_blocking=True)
        there.copy_(read)


class _Buffer:
    """Memory to read into, which must not be overwritten while it is copied to a GPU."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.bytes = torch.empty(PIECE_BYTES, dtype=torch.uint8, pin_memory=on_gpu)
        self.view = memoryview(self.bytes.numpy())  # type: ignore[arg-type]
        self._stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        if self._stream is not None:  # memory from the allocator may still be in use there
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Wait until the last copy from it is complete."""
        if self._stream is not None:
            self._stream.synchronize()

    def copy(self, start: int, end: int, targets: Sequence[_Target]) -> None:
        """Copy its content, the bytes from ``start`` to ``end`` of the file, to the targets."""
        with torch.cuda.stream(self._stream):
            for target in targets:
                first, last = max(start, target.start), min(end, target.end)
                if first < last:
                    target.copy(first, self.bytes[first - start : last - start])


def is_streamed(path: str, device: torch.device) -> bool:
    """Whether weights are loaded to this device by streaming; False if the file is missing."""
    try:
        return device.type == "cuda" and Path(path).stat().st_size >= THREAD_THRESHOLD_BYTES
    except OSError:
        return False


def stream_safetensors(
    path: str,
    device: torch.device,
    progress: ReadProgress,
    dtype: torch.dtype | None = None,
) -> dict[str, torch.Tensor]:
    """Read weights onto a device.

    Args:
        path: of a safetensors file.
        device: to read them onto.
        progress: is told the bytes of the file that have been read.
        dtype: of the floats among them; None for that of the file.

    Raises:
        SafetensorError: it is not a safetensors file.
        InvalidModel: it was truncated while it was read, or uses a dtype that PyTorch lacks.
        OSError: it cannot be read.
    """
    with safe_open(path, framework="pt"):  # validates the header
        pass
    weights, targets = _lay_out(Path(path), device, dtype)
    if targets:
        _fill(path, device, targets, progress)
    return weights


def _lay_out(
    path: Path, device: torch.device, dtype: torch.dtype | None
) -> tuple[dict[str, torch.Tensor], list[_Target]]:
    """Uninitialised tensors, and which bytes of the file belong into each."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    weights, targets = {}, []
    for name, entry in header.items():
        given = _DTYPES.get(entry["dtype"])
        if given is None:
            raise InvalidModel(f"{path}: the tensor {name} has the unknown dtype {entry['dtype']}.")
        kept = dtype if dtype is not None and given in _CONVERTED else given
        tensor = weights[name] = torch.empty(entry["shape"], dtype=kept, device=device)
        start, end = (_LENGTH_BYTES + length + offset for offset in entry["data_offsets"])
        if start < end:
            targets.append(_Target(start, end, tensor.view(-1), given))
    return weights, sorted(targets, key=lambda target: target.start)


def _fill(
    path: str, device: torch.device, targets: Sequence[_Target], progress: ReadProgress
) -> None:
    first, last = targets[0].start, targets[-1].end
    progress.expect(last - first)
    pieces = _pieces(targets)
    lock = threading.Lock()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def next_pieces() -> Iterator[tuple[int, int]]:
        while True:
            with lock:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def work() -> None:
        buffers = (_Buffer(device), _Buffer(device))
        for (start, end), buffer in zip(next_pieces(), cycle(buffers), strict=False):
            buffer.wait()
            _read(descriptor, buffer.view[: end - start], start, path)
            buffer.copy(start, end, targets)
            progress.add(end - start)
        for buffer in buffers:
            buffer.wait()

    try:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="stream") as pool:
            for done in [pool.submit(work) for _ in range(_THREADS)]:
                done.result()
    finally:
        os.close(descriptor)


def _pieces(targets: Sequence[_Target]) -> Iterator[tuple[int, int]]:
    """First and last byte of each piece to read; none of them ends within a number."""
    start, last = targets[0].start, targets[-1].end
    while start < last:
        end = min(start + PIECE_BYTES, last)
        within = targets[bisect_left(targets, end, key=lambda target: target.end)]
        end = within.whole(end)
        yield start, end
        start = end


def _read(descriptor: int, into: memoryview, offset: int, path: str) -> None:
    while into:
        count = os.preadv(descriptor, [into], offset)
        if not count:
            raise InvalidModel(f"{path} was truncated while it was read.")
        into, offset = into[count:], offset + count
