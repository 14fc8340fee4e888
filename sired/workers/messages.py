"""What daemon and worker say to each other; payload frames travel beside these headers."""

import msgspec

from sire.protocol.runs import RunModel, RunPart, RunResult, WorkerError
from sire.spec import ModelSpec, Signature


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
        cache: the directory for what may be kept from one load to the next; empty for nothing.
        largest_decoded: bytes that an input may take once it is decoded.
        memory_bound: bytes of main memory it may take; 0 for any (see ``bound_memory``).
        group: the control group to join, as a directory; empty to stay where it is.
    """

    spec: ModelSpec
    device: DeviceGrant
    log: str = ""
    cache: str = ""
    largest_decoded: int = 4 << 30
    memory_bound: int = 0
    group: str = ""


class EstimateModel(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker that is to load nothing: what would it take? Answer: Estimated."""

    spec: ModelSpec


class RunBatch(msgspec.Struct, frozen=True, tag=True):
    """Several requests to run together where they fit; each is answered by itself.

    ``frames`` tells how many of the frames that follow are each one's.
    """

    runs: tuple[RunModel, ...]
    frames: tuple[int, ...]


class StopStream(msgspec.Struct, frozen=True, tag=True):
    """Nobody wants the rest of this request's answer, which is made in parts."""

    request: int


class Estimated(msgspec.Struct, frozen=True, tag=True):
    """The reply to ``EstimateModel``.

    Attributes:
        weight_bytes: of the loaded model; None if its code reports nothing.
        problem: why its code could not be asked, or what is wrong with the model.
        hint: what to do about the problem.
        invalid: the model can never be loaded: its class does not exist or rejects its arguments.
    """

    weight_bytes: int | None
    problem: str = ""
    hint: str = ""
    invalid: bool = False


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """Loading goes on: so many bytes of its files have been read, of so many."""

    read_bytes: int
    total_bytes: int


class Sleep(msgspec.Struct, frozen=True, tag=True):
    """Bring the weights to main memory and give the device's memory back; answer: Slept."""


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Bring the weights back to the device; answer: Woke."""


class FreeDram(msgspec.Struct, frozen=True, tag=True):
    """Give back the main memory that was kept when it woke; answer: DramFreed."""


class ModelReady(msgspec.Struct, frozen=True, tag=True):
    """Loading worked.

    Attributes:
        memory_bytes: what the process holds on its device now.
        load_seconds: from the start of ``load`` to the end of the warm-up.
        sleep_bytes: what would go to main memory if it slept; 0 if it cannot.
    """

    memory_bytes: int
    load_seconds: float
    signature: Signature
    sleep_bytes: int = 0


class Slept(msgspec.Struct, frozen=True, tag=True):
    """It sleeps.

    Attributes:
        device_bytes: what the process still holds of its device.
        dram_bytes: what its weights take in main memory.
        seconds: what that took.
    """

    device_bytes: int
    dram_bytes: int
    seconds: float


class Woke(msgspec.Struct, frozen=True, tag=True):
    """It is awake.

    Attributes:
        memory_bytes: what the process holds on its device now.
        kept_bytes: what it keeps of main memory, for the next time.
        seconds: what that took.
    """

    memory_bytes: int
    kept_bytes: int
    seconds: float


class DramFreed(msgspec.Struct, frozen=True, tag=True):
    """It keeps nothing in main memory any more."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Are you there? Answer: Pong, once what came before it is done."""


class Pong(msgspec.Struct, frozen=True, tag=True):
    """I am."""


class TakeCounters(msgspec.Struct, frozen=True, tag=True):
    """The memory in which to count what is done for direct connections; its descriptor follows."""


class TakeConnection(msgspec.Struct, frozen=True, tag=True):
    """A client's direct connection to be served from now on; its descriptor follows.

    ``largest_bytes`` is what a request over it may have.
    """

    connection: int
    largest_bytes: int


class DirectFailed(msgspec.Struct, frozen=True, tag=True):
    """A request of a direct connection was answered with this error."""

    code: str
    message: str


ChangeTier = Sleep | Wake | FreeDram
ToWorker = (
    StandBy
    | LoadModel
    | EstimateModel
    | RunModel
    | RunBatch
    | StopStream
    | ChangeTier
    | TakeCounters
    | TakeConnection
    | Ping
)
FromWorker = (
    Estimated
    | LoadProgress
    | ModelReady
    | Slept
    | Woke
    | DramFreed
    | WorkerError
    | RunPart
    | RunResult
    | DirectFailed
    | Pong
)
