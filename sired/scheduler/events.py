"""What can happen. The daemon turns everything it observes into one of these events."""

from collections.abc import Hashable

import msgspec

from sire.errors import SireError
from sired.scheduler.entities.model import Model


class ModelAdded(msgspec.Struct, frozen=True):
    """A model was registered, or registered again under the same name."""

    model: Model


class ModelPinned(msgspec.Struct, frozen=True):
    """A model was pinned: it is not evicted and does not expire; ``pinned`` false undoes it."""

    model: str
    pinned: bool


class ModelsKept(msgspec.Struct, frozen=True):
    """The models that do not expire for the time being; they may be evicted."""

    kept: frozenset[str]


class ModelEstimated(msgspec.Struct, frozen=True):
    """A model's own code reported the size of its weights, in bytes.

    With ``everything`` it is all that the model allocates.
    """

    model: str
    weights: int
    everything: bool = False


class ModelRunsAlone(msgspec.Struct, frozen=True):
    """Requests of a model affect each other in a batch, so each runs alone from now on."""

    model: str


class ModelRemoved(msgspec.Struct, frozen=True):
    """A model was removed from the registry."""

    model: str


class RequestArrived(msgspec.Struct, frozen=True):
    """A client requests a prediction by ``deadline``, in seconds of the monotonic clock.

    Attributes:
        priority: high, normal or low; None for the model's priority.
        lease: the lease it came under, whose instance answers; None for any instance.
        batch_key: requests of a model with equal keys can run together; None for one that runs
            alone.
        rows: how much of the model's ``batch_size`` it takes.
        keep_alive: seconds the instance may idle after it, 0 to end it at once; None for the
            model's setting.
        size: bytes of its input, which are held until it is answered; 0 for a small one, which is
            limited by number only.
        client: the process that it came from, or its connection if that is unknown: the bytes of
            inputs are shared among them; "" for jobs, and for a request with a small input.
        slot: the client does the work itself, with the program that serves the model: the deadline
            is that of the dispatch only.
    """

    request: int
    model: str
    deadline: float
    priority: str | None = None
    lease: int | None = None
    batch_key: Hashable = None
    rows: int = 1
    keep_alive: float | None = None
    size: int = 0
    client: str = ""
    slot: bool = False


class RequestCancelled(msgspec.Struct, frozen=True):
    """A client withdrew a request, a load or a request for a lease."""

    request: int


class LoadRequested(msgspec.Struct, frozen=True):
    """A client requests that a model be loaded, on ``device`` if one is named.

    With ``patient`` a load that makes progress is awaited beyond the deadline.
    """

    operation: int
    model: str
    device: str | None
    deadline: float
    patient: bool = False


class UnloadRequested(msgspec.Struct, frozen=True):
    """A client requests that a model be unloaded."""

    operation: int
    model: str


class LeaseRequested(msgspec.Struct, frozen=True):
    """A client requests an instance of a model for its exclusive use.

    ``lease`` is both the number of the operation and that of the lease. With
    ``destroy_after_use`` the instance ends when the lease is returned.
    """

    lease: int
    model: str
    deadline: float
    destroy_after_use: bool = False


class LeaseReturned(msgspec.Struct, frozen=True):
    """A holder returned its lease, or its process has ended."""

    lease: int


class ShrinkRequested(msgspec.Struct, frozen=True):
    """A client requests that idle instances end: those of ``model``, or of all models.

    ``keep`` is how many instances of each model stay; None for each model's minimum.
    """

    operation: int
    model: str | None
    keep: int | None


class LoadProgressed(msgspec.Struct, frozen=True):
    """A worker has read more of its model: ``read_bytes`` of ``total_bytes``.

    Both are 0 while its load waits for another one on the same GPU.
    """

    instance: int
    read_bytes: int
    total_bytes: int


class DirectOpened(msgspec.Struct, frozen=True):
    """A direct connection from a client to an instance was opened."""

    instance: int


class DirectUsed(msgspec.Struct, frozen=True):
    """What an instance did over its direct connections since the last such event.

    Attributes:
        served: requests it answered.
        seconds: time it was busy with them, in total.
        last_used: the time at which it last worked on one.
        busy: it is working on one now.
        abandoned: it is working, and every client it works for has disconnected.
        peak: the most memory it has held so far, in bytes.
    """

    instance: int
    served: int
    seconds: float
    last_used: float
    busy: bool
    abandoned: bool = False
    peak: int = 0


class SleepRequested(msgspec.Struct, frozen=True):
    """A client requests that a model sleep in main memory; one on disk is loaded first."""

    operation: int
    model: str
    deadline: float


class WorkerReady(msgspec.Struct, frozen=True):
    """A worker has loaded its model, or has woken.

    Attributes:
        memory: bytes it holds on its device.
        sleep_memory: bytes that would move to main memory if it slept; 0 if it cannot sleep.
        dram_memory: bytes of main memory it keeps for its next sleep.
        load_seconds: how long the process took to load, without waiting to be started; 0 if that is
            not known.
    """

    instance: int
    memory: int
    sleep_memory: int = 0
    dram_memory: int = 0
    load_seconds: float = 0.0


class WorkerSlept(msgspec.Struct, frozen=True):
    """A worker is asleep; it holds these bytes on its device and in main memory."""

    instance: int
    device_memory: int
    dram_memory: int


class WorkerDramFreed(msgspec.Struct, frozen=True):
    """A worker that is awake has released the main memory it kept."""

    instance: int


class SleepFailed(msgspec.Struct, frozen=True):
    """A worker failed to move its weights to main memory."""

    instance: int
    error: SireError


class WorkerLoadFailed(msgspec.Struct, frozen=True):
    """A worker failed to load its model, or to wake, and is about to exit.

    Attributes:
        requested: what it could not allocate, in bytes; 0 if that is unknown.
        device_failure: why no model can be loaded on its device now; "" if this one's failure shows
            nothing about others.
    """

    instance: int
    error: SireError
    out_of_memory: bool = False
    requested: int = 0
    device_failure: str = ""


class RequestFinished(msgspec.Struct, frozen=True):
    """A worker has answered a request, successfully or with an error; one event per batch member.

    Attributes:
        peak: the most memory the worker has held so far, in bytes; 0 if not reported.
        seconds: time the worker was busy with it, its share if it ran in a batch; None if not
            reported.
        requested: what it could not allocate, in bytes; 0 if that is unknown.
    """

    instance: int
    request: int
    peak: int = 0
    error: SireError | None = None
    out_of_memory: bool = False
    seconds: float | None = None
    requested: int = 0


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker's process has ended and its memory is free; ``error`` states how it ended.

    ``worked_directly``: it was working for a direct connection, and so had not begun any request
    that was dispatched to it.
    """

    instance: int
    error: SireError
    worked_directly: bool = False


class MemorySampled(msgspec.Struct, frozen=True):
    """What the drivers report as free, in bytes.

    Attributes:
        free: by device name.
        dram: free main memory; None if unknown.
        lost: names of devices that are gone, and what was on them with them.
        silent: names of devices that their driver fails to report on; what runs there goes on.
        loading: instances that load onto a GPU, and what each holds there already.
    """

    free: dict[str, int]
    dram: int | None = None
    lost: frozenset[str] = frozenset()
    loading: tuple[tuple[int, int], ...] = ()
    silent: frozenset[str] = frozenset()


class DeviceAdded(msgspec.Struct, frozen=True):
    """A device that models can be placed on from now on.

    Attributes:
        kind: cpu or cuda.
        capacity: bytes that instances may use.
        bounded_by: the setting that limits the capacity.
    """

    name: str
    kind: str
    capacity: int
    bounded_by: str = ""


class TimerFired(msgspec.Struct, frozen=True):
    """The time that ``Brain.wakeup`` named has come."""


Event = (
    ModelAdded
    | ModelPinned
    | ModelsKept
    | ModelEstimated
    | ModelRunsAlone
    | ModelRemoved
    | RequestArrived
    | RequestCancelled
    | LoadRequested
    | UnloadRequested
    | LeaseRequested
    | LeaseReturned
    | ShrinkRequested
    | LoadProgressed
    | DirectOpened
    | DirectUsed
    | SleepRequested
    | WorkerReady
    | WorkerSlept
    | WorkerDramFreed
    | SleepFailed
    | WorkerLoadFailed
    | RequestFinished
    | WorkerGone
    | MemorySampled
    | DeviceAdded
    | TimerFired
)
