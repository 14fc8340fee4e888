"""Streams weights from a file to a GPU, at the speed of the disk or of the bus.

Weights copied from mapped memory are read page by page: pages that the kernel has not read yet
stall the copy, and memory that is not pinned is copied twice by the driver. Here two threads read
pieces of the file into pinned buffers. Each thread has two, so that it reads one while the other is
copied to the GPU. Main memory is needed for the buffers only, whatever the size of the model.
"""

import json
import os
import threading
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


@dataclass(frozen=True, slots=True)
class _Target:
    """The destination of the file's bytes from ``start`` to ``end``: flat uint8 on the device."""

    start: int
    end: int
    bytes: torch.Tensor


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
                    there = target.bytes[first - target.start : last - target.start]
                    there.copy_(self.bytes[first - start : last - start], non_blocking=True)


def is_streamed(path: str, device: torch.device) -> bool:
    """Whether weights are loaded to this device by streaming; False if the file is missing."""
    try:
        return device.type == "cuda" and Path(path).stat().st_size >= THREAD_THRESHOLD_BYTES
    except OSError:
        return False


def stream_safetensors(
    path: str, device: torch.device, progress: ReadProgress
) -> dict[str, torch.Tensor]:
    """Read weights onto a device.

    Raises:
        SafetensorError: it is not a safetensors file.
        InvalidModel: it was truncated while it was read, or uses a dtype that PyTorch lacks.
        OSError: it cannot be read.
    """
    with safe_open(path, framework="pt"):  # validates the header
        pass
    weights, targets = _lay_out(Path(path), device)
    if targets:
        _fill(path, device, targets, progress)
    return weights


def _lay_out(path: Path, device: torch.device) -> tuple[dict[str, torch.Tensor], list[_Target]]:
    """Uninitialised tensors, and which bytes of the file belong into each."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    weights, targets = {}, []
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise InvalidModel(f"{path}: the tensor {name} has the unknown dtype {entry['dtype']}.")
        tensor = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]], device=device)
        weights[name] = tensor
        start, end = (_LENGTH_BYTES + length + offset for offset in entry["data_offsets"])
        if start < end:
            targets.append(_Target(start, end, tensor.view(-1).view(torch.uint8)))
    return weights, sorted(targets, key=lambda target: target.start)


def _fill(
    path: str, device: torch.device, targets: Sequence[_Target], progress: ReadProgress
) -> None:
    first, last = targets[0].start, targets[-1].end
    progress.expect(last - first)
    pieces = iter(range(first, last, PIECE_BYTES))
    lock = threading.Lock()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def starts() -> Iterator[int]:
        while True:
            with lock:
                start = next(pieces, None)
            if start is None:
                return
            yield start

    def work() -> None:
        buffers = (_Buffer(device), _Buffer(device))
        for start, buffer in zip(starts(), cycle(buffers), strict=False):
            end = min(start + PIECE_BYTES, last)
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


def _read(descriptor: int, into: memoryview, offset: int, path: str) -> None:
    while into:
        count = os.preadv(descriptor, [into], offset)
        if not count:
            raise InvalidModel(f"{path} was truncated while it was read.")
        into, offset = into[count:], offset + count
