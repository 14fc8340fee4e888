"""Messages between daemon and worker; payload frames are sent beside these headers."""

import msgspec

from sire.protocol.runs import RunModel, RunPart, RunResult, WorkerError
from sire.spec import ModelSpec, Signature
from sired.store.file_states import FileState


class DeviceGrant(msgspec.Struct, frozen=True):
    """The device that a worker may use.

    Attributes:
        name: of the device.
        kind: cpu or cuda.
        uuid: of the GPU, the only one that the process can see.
        index: of the GPU in the order of PCI bus addresses.
        total_bytes: of all memory of the GPU; 0 for the CPU.
        cores: the CPU cores to run on; empty for all.
        memory_bytes: granted to the instance.
        load_lock: for a GPU, the file that workers lock while they load onto it (see
            ``GpuLoadMeter``).
    """

    name: str
    kind: str
    uuid: str = ""
    index: int = 0
    total_bytes: int = 0
    cores: tuple[int, ...] = ()
    memory_bytes: int = 0
    load_lock: str = ""


class StandBy(msgspec.Struct, frozen=True, tag=True):
    """First message to a standby worker, which prepares a device before it gets a model."""

    device: DeviceGrant


class LoadModel(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker, or the second to a standby worker.

    Attributes:
        spec: the model.
        device: to load it on.
        log: the file for the worker's output; empty for no change.
        cache: the model's cache directory; empty for none.
        largest_decoded: maximum bytes of a decoded input.
        memory_bound: maximum bytes of main memory; 0 for no limit (see ``bound_memory``).
        group: the directory of the control group to join; empty for none.
        files: the states that the files of the model have to have.
    """

    spec: ModelSpec
    device: DeviceGrant
    log: str = ""
    cache: str = ""
    largest_decoded: int = 4 << 30
    memory_bound: int = 0
    group: str = ""
    files: tuple[FileState, ...] = ()


class EstimateModel(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker that checks and estimates a model; reply: Estimated."""

    spec: ModelSpec


class RunBatch(msgspec.Struct, frozen=True, tag=True):
    """Requests to run in one batch if they fit together; each gets its own reply.

    ``frames`` has the number of payload frames of each request.
    """

    runs: tuple[RunModel, ...]
    frames: tuple[int, ...]


class StopRun(msgspec.Struct, frozen=True, tag=True):
    """The answer to a request, or the rest of a streamed one, is not wanted any more."""

    request: int


class Estimated(msgspec.Struct, frozen=True, tag=True):
    """The reply to ``EstimateModel``.

    Attributes:
        weight_bytes: of the loaded model; None if its code reports nothing.
        problem: why its code could not be asked, or what is wrong with the model.
        hint: what to do about the problem.
        rejected: the code of the error if the model can never be loaded: its class does not exist,
            rejects its arguments, or does not match the file; "" if it may be.
        notes: sentences about what is chosen from its file, converted or ignored.
    """

    weight_bytes: int | None
    problem: str = ""
    hint: str = ""
    rejected: str = ""
    notes: tuple[str, ...] = ()


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """Progress of loading: bytes read and total bytes of the model's files.

    Both are 0 while the load waits for another one on the same GPU.
    """

    read_bytes: int
    total_bytes: int


class Sleep(msgspec.Struct, frozen=True, tag=True):
    """Move the weights to main memory and release the device's memory; reply: Slept."""


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Move the weights back to the device; reply: Woke."""


class FreeDram(msgspec.Struct, frozen=True, tag=True):
    """Release the main memory that was kept on waking; reply: DramFreed."""


class ModelReady(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded.

    Attributes:
        memory_bytes: that the process holds on its device.
        load_seconds: from the start of ``load`` to the end of the warm-up.
        signature: that the runtime reports.
        sleep_bytes: main memory that the weights occupy during sleep; 0 if it cannot sleep.
        url: where a program serves the model over HTTP; "" if none does.
    """

    memory_bytes: int
    load_seconds: float
    signature: Signature
    sleep_bytes: int = 0
    url: str = ""


class TrialFinding(msgspec.Struct, frozen=True, tag=True):
    """What a worker has found out about its model while it answered requests.

    Attributes:
        alone: why requests run alone from now on; "" if they need not.
        note: a sentence about the model for its user; "" for none.
    """

    alone: str = ""
    note: str = ""


class Slept(msgspec.Struct, frozen=True, tag=True):
    """The model is asleep.

    Attributes:
        device_bytes: that the process still holds on its device.
        dram_bytes: of its weights in main memory.
        seconds: duration of suspending.
    """

    device_bytes: int
    dram_bytes: int
    seconds: float


class Woke(msgspec.Struct, frozen=True, tag=True):
    """The model is awake.

    Attributes:
        memory_bytes: that the process holds on its device.
        kept_bytes: main memory that it keeps for the next sleep.
        seconds: duration of waking.
    """

    memory_bytes: int
    kept_bytes: int
    seconds: float


class DramFreed(msgspec.Struct, frozen=True, tag=True):
    """The main memory that was kept has been released."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """A liveness check; reply: Pong, after all earlier messages have been processed."""


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The reply to ``Ping``."""


class TakeCounters(msgspec.Struct, frozen=True, tag=True):
    """Shared memory for the counters of direct connections; its descriptor follows."""


class TakeConnection(msgspec.Struct, frozen=True, tag=True):
    """A client's direct connection to serve; its descriptor follows.

    Attributes:
        connection: its number.
        largest_bytes: maximum bytes of a request.
    """

    connection: int
    largest_bytes: int


class DirectFailed(msgspec.Struct, frozen=True, tag=True):
    """A request of a direct connection failed with this error, ``seconds`` after it was sent."""

    code: str
    message: str
    seconds: float


ChangeTier = Sleep | Wake | FreeDram
ToWorker = (
    StandBy
    | LoadModel
    | EstimateModel
    | RunModel
    | RunBatch
    | StopRun
    | ChangeTier
    | TakeCounters
    | TakeConnection
    | Ping
)
FromWorker = (
    Estimated
    | LoadProgress
    | ModelReady
    | TrialFinding
    | Slept
    | Woke
    | DramFreed
    | WorkerError
    | RunPart
    | RunResult
    | DirectFailed
    | Pong
)
