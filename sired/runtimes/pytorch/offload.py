"""Moves a module's weights from a GPU to pinned main memory, and back.

Storages, the memory behind tensors, are moved: every view of a storage stays valid, tied weights
are moved once, and references to parameters are not affected. Restored weights can have other
addresses: addresses that a model has recorded, as a captured CUDA graph does, become invalid.
"""

import contextlib
import ctypes
import logging
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from sire.units import format_bytes
from sired.runtimes.pytorch.storages import is_opaque, plain_tensors, storages_of

# Alignment of each storage in main memory; copies are fastest from whole cache lines.
_ALIGNMENT = 512
_HUGE_PAGE = 2 << 20

log = logging.getLogger("sired.worker")


@dataclass(frozen=True, slots=True)
class OffloadedWeights:
    """Weights in main memory: their storages, and the bytes of each, within one allocation.

    While they are back on their device, ``storages`` is empty: the module may replace some, whose
    memory there must not be kept.
    """

    storages: list[torch.UntypedStorage]
    parts: list[torch.Tensor]
    memory: torch.Tensor

    def fits(self, storages: list[torch.UntypedStorage]) -> bool:
        """Whether storages have the sizes that it was allocated for."""
        return [one.nbytes() for one in storages] == [part.nbytes for part in self.parts]

    def free(self) -> None:
        """Unlock the pages; they are freed with the last reference to this object."""
        _unpin(self.memory)


def can_offload(model: Any) -> bool:
    """Whether it is a module whose weights are in memory that PyTorch manages."""
    if not isinstance(model, torch.nn.Module):
        return False
    if any(is_opaque(part) for tensor in _tensors(model) for part in plain_tensors(tensor)):
        return False
    return all(storage.resizable() for storage in _storages(model) if storage.device.type == "cuda")


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _storages(module: torch.nn.Module) -> list[torch.UntypedStorage]:
    return [storage for storage in storages_of(_tensors(module)) if storage.nbytes()]


def offload(
    module: torch.nn.Module, kept: OffloadedWeights | None = None, *, pinned: bool = True
) -> OffloadedWeights:
    """Copy a module's weights to main memory, and free their memory on the device.

    They are copied each time, because buffers may have changed.

    Args:
        module: must not be called until ``restore``.
        kept: the result of an earlier call; its memory is reused if the weights are the same.
        pinned: lock the pages, so that the device can copy them by DMA; needs CUDA.
    """
    storages = _storages(module)
    offloaded = kept if kept and kept.fits(storages) else _allocate(storages, kept, pinned=pinned)
    offloaded.storages[:] = storages
    for storage, part in zip(storages, offloaded.parts, strict=True):
        part.copy_(_bytes_of(storage), non_blocking=True)
    _finish(storages)
    for storage in storages:
        storage.resize_(0)
    return offloaded


def _allocate(
    storages: list[torch.UntypedStorage], kept: OffloadedWeights | None, *, pinned: bool
) -> OffloadedWeights:
    """New main memory for the storages; frees what was kept."""
    if kept is not None:
        kept.free()
    sizes = [-(-storage.nbytes() // _ALIGNMENT) * _ALIGNMENT for storage in storages]
    *offsets, total = accumulate(sizes, initial=0)
    memory = torch.empty(total, dtype=torch.uint8)
    if pinned:
        _use_huge_pages(memory)
        _pin(memory)
    pairs = zip(offsets, storages, strict=True)
    parts = [memory[offset : offset + storage.nbytes()] for offset, storage in pairs]
    return OffloadedWeights([], parts, memory)


def restore(offloaded: OffloadedWeights) -> None:
    """Copy the weights back to their device.

    Raises:
        torch.OutOfMemoryError: the device lacks memory; the module can no longer be used.
    """
    for storage, part in zip(offloaded.storages, offloaded.parts, strict=True):
        storage.resize_(part.nbytes)
        _bytes_of(storage).copy_(part, non_blocking=True)
    _finish(offloaded.storages)
    offloaded.storages.clear()


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    """A storage as a flat uint8 tensor, without copying."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _finish(storages: list[torch.UntypedStorage]) -> None:
    """Wait for pending copies."""
    if any(storage.device.type == "cuda" for storage in storages):
        torch.cuda.synchronize()


# PyTorch's own pinned memory is allocated in powers of two, and is not released.


def _pin(memory: torch.Tensor) -> None:
    """Lock the pages, if the system allows it: WSL2 and containers may limit how much.

    Copies from memory that is not locked take longer, and are right all the same.
    """
    if not memory.nbytes:
        return
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    if code := int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)):
        log.warning(
            "%s of main memory cannot be pinned (CUDA error %d): sleep and wake take longer",
            format_bytes(memory.nbytes),
            code,
        )
        _clear_last_error()


def _clear_last_error() -> None:
    """Have CUDA forget an error that has been handled: the next launch would report it."""
    major = (torch.version.cuda or "").partition(".")[0]
    with contextlib.suppress(OSError):
        ctypes.CDLL(f"libcudart.so.{major}").cudaGetLastError()  # the one that torch has loaded


def _use_huge_pages(memory: torch.Tensor) -> None:
    """Ask for huge pages, of which far fewer have to be locked; a hint that may be ignored."""
    start = -(-memory.data_ptr() // _HUGE_PAGE) * _HUGE_PAGE
    length = (memory.data_ptr() + memory.nbytes - start) // _HUGE_PAGE * _HUGE_PAGE
    if length > 0:
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE
        )


def _unpin(memory: torch.Tensor) -> None:
    if memory.nbytes and memory.is_pinned():
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        torch.cuda.check_error(int(runtime.cudaHostUnregister(memory.data_ptr())))
