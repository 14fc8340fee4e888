"""Requests to a worker and its replies, from the daemon or over a direct connection."""

from typing import Any

import msgspec

from sire.spec import TensorSpec


class RunModel(msgspec.Struct, frozen=True, tag=True):
    """One request; its payload follows.

    Attributes:
        sent: monotonic time at which a client sent it over a direct connection; 0 otherwise.
        stream: whether the answer is sent in parts as they are produced; from the daemon only.
    """

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    accept: str
    sent: float = 0.0
    stream: bool = False


class RunPart(msgspec.Struct, frozen=True, tag=True):
    """A part of one answer; its payload follows, and then more parts or the RunResult."""

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]


class RunResult(msgspec.Struct, frozen=True, tag=True):
    """The answer to one request; its payload follows.

    Attributes:
        input_held: whether the model still refers to the memory of its input.
    """

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    compute_seconds: float
    peak_memory_bytes: int
    input_held: bool = False


class WorkerError(msgspec.Struct, frozen=True, tag=True):
    """Loading (``request`` is None) or one request failed.

    If ``out_of_memory`` is set the scheduler makes room and tries once more. ``requested_bytes`` is
    what could not be allocated, 0 if that is unknown. ``device_failure`` is why no model can be
    loaded on the device now; "" if this one's failure shows nothing about others.
    """

    request: int | None
    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}
    out_of_memory: bool = False
    peak_memory_bytes: int = 0
    requested_bytes: int = 0
    device_failure: str = ""
