"""What a worker is asked and answers, by the daemon or over a client's direct connection."""

from typing import Any

import msgspec

from sire.spec import TensorSpec


class RunModel(msgspec.Struct, frozen=True, tag=True):
    """One request; its payload follows.

    Attributes:
        sent: when, by the clock that never goes back and is the same for every process; said by
            clients over their direct connections.
        stream: the answer is wanted in parts as they are made; the daemon alone asks for that.
    """

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    accept: str
    sent: float = 0.0
    stream: bool = False


class RunPart(msgspec.Struct, frozen=True, tag=True):
    """A part of one request's answer; its payload follows, and more parts or the RunResult."""

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]


class RunResult(msgspec.Struct, frozen=True, tag=True):
    """One request's answer; its payload follows.

    Attributes:
        input_held: the model still holds on to the memory its input came in.
    """

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    compute_seconds: float
    peak_memory_bytes: int
    input_held: bool = False


class WorkerError(msgspec.Struct, frozen=True, tag=True):
    """Loading (``request`` is None) or one request failed; ``traceback`` is for the log.

    ``out_of_memory`` tells the scheduler to make room and try once more.
    """

    request: int | None
    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}
    out_of_memory: bool = False
    peak_memory_bytes: int = 0
