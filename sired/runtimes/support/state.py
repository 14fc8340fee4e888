"""What an object remembers, to find models that keep state between requests.

The attributes of an object are marked: by value for numbers and texts, by identity and version for
tensors, by content for small arrays. Attributes whose marks differ have changed. Only objects of
the model's own module, modules of PyTorch and plain containers are looked into: what a library
counts in its own objects is not the model's state.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
# A model with more attributes is not watched.
_MOST = 20_000
_DEEPEST = 12
# Arrays and lists beyond are marked by their identity and length.
_SMALL_BYTES, _SMALL_ITEMS = 1 << 16, 64
# What torch.nn.Module has of its own, besides its parameters, buffers and modules.
_MODULE = "_parameters"

Marks = dict[str, tuple[Any, Any]]


def marks_of(owner: Any) -> Marks | None:
    """The marks of an object's attributes by their dotted names.

    Each comes with the attribute, which is thereby kept: an identity is not used again meanwhile.

    Returns:
        None for an object with too many of them.
    """
    found: Marks = {}
    for name, value in _attributes(owner, type(owner).__module__, "", 0, set()):
        found[name] = (mark_of(value), value)
        if len(found) > _MOST:
            return None
    return found


def changed(before: Marks, now: Marks) -> list[str]:
    """The names of attributes that are new, or whose marks differ."""
    return [name for name, (mark, _) in now.items() if before.get(name, (None,))[0] != mark]


def _attributes(
    owner: Any, own: str, prefix: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, Any]]:
    if id(owner) in seen or depth > _DEEPEST:
        return
    seen.add(id(owner))
    for name, value in _items(owner):
        full = f"{prefix}{name}"
        inside = f"{prefix}" if name in {"_parameters", "_buffers", "_modules"} else f"{full}."
        if isinstance(value, dict | list):
            yield full, len(value)
        if _is_looked_into(value, own):
            yield from _attributes(value, own, inside, depth + 1, seen)
        else:
            yield full, value


def _items(owner: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(owner, Mapping):
        given: Any = owner.items()
    elif isinstance(owner, list | tuple):
        given = enumerate(owner)
    else:
        given = vars(owner).items()
    yield from ((str(name), value) for name, value in list(given))


def _is_looked_into(value: Any, own: str) -> bool:
    if isinstance(value, dict | list | tuple):
        return len(value) <= _SMALL_ITEMS or isinstance(value, dict)
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return False
    attributes = vars(value)
    return _MODULE in attributes or type(value).__module__ == own


def mark_of(value: Any) -> Any:
    """What is equal as long as an attribute has not changed."""
    if isinstance(value, _PLAIN):
        return type(value).__name__, repr(value)
    if isinstance(value, np.ndarray):
        small = value.nbytes <= _SMALL_BYTES and value.dtype != object
        return "array", value.tobytes() if small else id(value)
    if hasattr(value, "data_ptr") and hasattr(value, "is_inference"):
        version = 0 if value.is_inference() else value._version  # noqa: SLF001 (documented)
        small = value.is_inference() and value.nbytes <= _SMALL_BYTES
        content = value.detach().cpu().numpy().tobytes() if small else None
        return "tensor", value.data_ptr(), version, content
    length = len(value) if isinstance(value, set | frozenset | list | tuple) else None
    return id(value), length
