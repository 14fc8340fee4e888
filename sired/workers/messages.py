"""What daemon and worker say to each other; payload frames travel beside these headers."""

from typing import Any

import msgspec

from sired.spec import ModelSpec, Signature, TensorSpec


class DeviceGrant(msgspec.Struct, frozen=True):
    """The device a worker may use.

    Attributes:
        kind: cpu or cuda.
        uuid: of the GPU; becomes the only one the process can see.
        cores: the CPU cores to stay on; empty for all.
        memory_bytes: what the instance has been granted.
        load_lock: of a GPU, the file that all who load onto it lock (see ``GpuMeter``).
    """

    name: str
    kind: str
    uuid: str = ""
    cores: tuple[int, ...] = ()
    memory_bytes: int = 0
    load_lock: str = ""


class StandBy(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker that is to be ready on a device before there is a model for it."""

    device: DeviceGrant


class LoadModel(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker, or the second to one that stands by.

    Attributes:
        log: the file to print to from now on; empty for where it prints already.
    """

    spec: ModelSpec
    device: DeviceGrant
    log: str = ""


class RunModel(msgspec.Struct, frozen=True, tag=True):
    """One request; its payload follows."""

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    accept: str


class RunBatch(msgspec.Struct, frozen=True, tag=True):
    """Several requests to run together where they fit; each is answered by itself.

    ``frames`` tells how many of the frames that follow are each one's.
    """

    runs: tuple[RunModel, ...]
    frames: tuple[int, ...]


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """Loading goes on: so many bytes of its files have been read, of so many."""

    read_bytes: int
    total_bytes: int


class ModelReady(msgspec.Struct, frozen=True, tag=True):
    """Loading worked.

    Attributes:
        memory_bytes: what the process holds on its device now.
        load_seconds: from the start of ``load`` to the end of the warm-up.
    """

    memory_bytes: int
    load_seconds: float
    signature: Signature


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


class RunResult(msgspec.Struct, frozen=True, tag=True):
    """One request's answer; its payload follows."""

    request: int
    content_type: str
    tensors: tuple[TensorSpec, ...]
    compute_seconds: float
    peak_memory_bytes: int


ToWorker = StandBy | LoadModel | RunModel | RunBatch
FromWorker = LoadProgress | ModelReady | WorkerError | RunResult
