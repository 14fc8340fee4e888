"""A module's weights on their way from a GPU to pinned main memory, and back.

What is moved is storages, the memory behind tensors: every view of one stays what it was, tied
weights are moved once, and nothing that refers to a parameter notices. The memory they come back to
may be another one: what a model itself noted of addresses, as a captured CUDA graph does, is lost.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

# Where each storage begins in main memory: copies are fastest from whole cache lines.
_ALIGNMENT = 512


@dataclass(frozen=True, slots=True)
class OffloadedWeights:
    """Weights in main memory: the storages they belong to, their sizes, and their bytes."""

    storages: list[torch.UntypedStorage]
    parts: list[torch.Tensor]
    memory: torch.Tensor

    def fits(self, storages: list[torch.UntypedStorage]) -> bool:
        """Whether these are the storages it has room for."""
        pairs = zip(storages, self.storages, strict=False)
        same = all(one._cdata == other._cdata for one, other in pairs)  # noqa: SLF001
        return same and len(storages) == len(self.storages)

    def free(self) -> None:
        """Unlock the pages; they are free with the last reference to this."""
        _unpin(self.memory)


def can_offload(model: Any) -> bool:
    """Whether a model's weights can be moved: those of a module, in memory that PyTorch manages."""
    if not isinstance(model, torch.nn.Module):
        return False
    return all(storage.resizable() for storage in _storages(model) if storage.device.type == "cuda")


def _storages(module: torch.nn.Module) -> list[torch.UntypedStorage]:
    tensors = (tensor for kind in (module.parameters(), module.buffers()) for tensor in kind)
    found = {s.data_ptr(): s for s in (tensor.untyped_storage() for tensor in tensors)}
    return [storage for storage in found.values() if storage.nbytes()]


def offload(
    module: torch.nn.Module, kept: OffloadedWeights | None = None, *, pinned: bool = True
) -> OffloadedWeights:
    """Copy a module's weights to main memory, and free the memory they had on their device.

    They are copied each time: buffers may have changed since the last time.

    Args:
        module: it cannot be called until ``restore``.
        kept: where it was parked before; that memory is used again if the weights are the same.
        pinned: lock the pages, so that the device copies them by itself; needs CUDA.
    """
    storages = _storages(module)
    parked = kept if kept and kept.fits(storages) else _room_for(storages, kept, pinned=pinned)
    for storage, part in zip(storages, parked.parts, strict=True):
        part.copy_(_bytes_of(storage), non_blocking=True)
    _finish(storages)
    for storage in storages:
        storage.resize_(0)
    return parked


def _room_for(
    storages: list[torch.UntypedStorage], kept: OffloadedWeights | None, *, pinned: bool
) -> OffloadedWeights:
    """New main memory for storages, in place of what was kept."""
    if kept is not None:
        kept.free()
    sizes = [-(-storage.nbytes() // _ALIGNMENT) * _ALIGNMENT for storage in storages]
    *offsets, total = accumulate(sizes, initial=0)
    memory = torch.empty(total, dtype=torch.uint8)
    if pinned:
        _pin(memory)
    places = zip(offsets, storages, strict=True)
    parts = [memory[offset : offset + storage.nbytes()] for offset, storage in places]
    return OffloadedWeights(storages, parts, memory)


def restore(parked: OffloadedWeights) -> None:
    """Copy the weights back to their device.

    Raises:
        torch.OutOfMemoryError: the device has no room; the module cannot be used any more.
    """
    for storage, part in zip(parked.storages, parked.parts, strict=True):
        storage.resize_(part.nbytes)
        _bytes_of(storage).copy_(part, non_blocking=True)
    _finish(parked.storages)


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    """A storage as one row of bytes, without a copy."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _finish(storages: list[torch.UntypedStorage]) -> None:
    """Wait for the copies that are under way."""
    if any(storage.device.type == "cuda" for storage in storages):
        torch.cuda.synchronize()


# PyTorch's own pinned memory comes in powers of two, and is not given back.


def _pin(memory: torch.Tensor) -> None:
    if memory.nbytes:
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        torch.cuda.check_error(int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)))


def _unpin(memory: torch.Tensor) -> None:
    if memory.nbytes and memory.is_pinned():
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        torch.cuda.check_error(int(runtime.cudaHostUnregister(memory.data_ptr())))
