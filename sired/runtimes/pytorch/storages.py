"""The storages behind tensors, also behind those that wrap other tensors.

Quantised weights (torchao) and sharded ones (DTensor) are subclasses of Tensor without a storage of
their own: they consist of plain tensors, which they name.
"""

from collections.abc import Iterable, Iterator

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def storages_of(tensors: Iterable[torch.Tensor]) -> list[torch.UntypedStorage]:
    """Each storage once, however many tensors share it; those that cannot be reached are left out.

    See ``is_opaque``.
    """
    plain = (part for tensor in tensors for part in plain_tensors(tensor) if not is_opaque(part))
    found = {s.data_ptr(): s for s in (tensor.untyped_storage() for tensor in plain)}
    return list(found.values())


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors that a tensor consists of: itself, unless it wraps others."""
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from plain_tensors(getattr(tensor, name))


def is_opaque(tensor: torch.Tensor) -> bool:
    """Whether a tensor wraps something that it does not name."""
    try:
        tensor.untyped_storage().data_ptr()
    except RuntimeError:  # PyTorch has no question for it
        return True
    return False
