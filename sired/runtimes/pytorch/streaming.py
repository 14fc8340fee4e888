"""Weights from a file into a GPU, at the speed of the disk or of the bus, whichever is slower.

Copied from mapped memory, weights come to a GPU page by page: what the kernel has not read yet
holds up the copy, and what is not pinned the driver copies once more. Here two threads read
pieces of the file into pinned buffers; each has two, so that while one is on its way to the GPU
the next is being read. Nothing but the buffers is taken of the machine's memory, whatever the
size of the model, and reading never runs ahead of what is copied.
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

# Which of its names is which of PyTorch's; it has no public name for that.
from safetensors.torch import _TYPES as _DTYPES

from sire.errors import InvalidModel
from sired.runtimes.reading import PIECE_BYTES, WORTH_A_THREAD, ReadProgress

_LENGTH_BYTES = 8
# One reads while the other hands over what it has read.
_THREADS = 2


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the bytes from ``start`` to ``end`` of a file go: ``bytes``, flat, on the device."""

    start: int
    end: int
    bytes: torch.Tensor


class _Buffer:
    """Memory to read into. On the way to a GPU it may not be overwritten before it has arrived."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.bytes = torch.empty(PIECE_BYTES, dtype=torch.uint8, pin_memory=on_gpu)
        self.view = memoryview(self.bytes.numpy())  # type: ignore[arg-type]
        self._stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        if self._stream is not None:  # what the allocator hands out may still be in use there
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Wait until what was copied out of it last has arrived."""
        if self._stream is not None:
            self._stream.synchronize()

    def copy(self, start: int, end: int, targets: Sequence[_Target]) -> None:
        """Send what it holds, which are the bytes from ``start`` to ``end`` of the file."""
        with torch.cuda.stream(self._stream):
            for target in targets:
                first, last = max(start, target.start), min(end, target.end)
                if first < last:
                    there = target.bytes[first - target.start : last - target.start]
                    there.copy_(self.bytes[first - start : last - start], non_blocking=True)


def is_streamed(path: str, device: torch.device) -> bool:
    """Whether weights get to this device faster so; a file that is not there gets nowhere."""
    try:
        return device.type == "cuda" and Path(path).stat().st_size >= WORTH_A_THREAD
    except OSError:
        return False


def stream_safetensors(
    path: str, device: torch.device, progress: ReadProgress
) -> dict[str, torch.Tensor]:
    """Read weights onto a device.

    Raises:
        SafetensorError: it is no safetensors file.
        InvalidModel: it ends while it is read, or holds numbers of a kind PyTorch has not.
        OSError: it cannot be read.
    """
    with safe_open(path, framework="pt"):  # which checks that what the header says can be
        pass
    weights, targets = _lay_out(Path(path), device)
    if targets:
        _fill(path, device, targets, progress)
    return weights


def _lay_out(path: Path, device: torch.device) -> tuple[dict[str, torch.Tensor], list[_Target]]:
    """Tensors without their values, and what of the file belongs into which."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    weights, targets = {}, []
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise InvalidModel(f"{path} holds numbers of the kind {entry['dtype']} in {name}.")
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
    one_at_a_time = threading.Lock()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def starts() -> Iterator[int]:
        while True:
            with one_at_a_time:
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
            raise InvalidModel(f"{path} became shorter while it was read.")
        into, offset = into[count:], offset + count
