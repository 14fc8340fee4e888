"""What can happen. The daemon turns everything it sees into one of these."""

from collections.abc import Hashable

import msgspec

from sire.errors import SireError
from sired.scheduler.entities.model import Model


class ModelAdded(msgspec.Struct, frozen=True):
    """A model was registered, or registered anew under its old name."""

    model: Model


class ModelPinned(msgspec.Struct, frozen=True):
    """A model is to stay loaded from now on, or with ``pinned`` false no more."""

    model: str
    pinned: bool


class ModelEstimated(msgspec.Struct, frozen=True):
    """What a model's own code says that its weights take; bytes."""

    model: str
    weights: int


class ModelRemoved(msgspec.Struct, frozen=True):
    """A model is registered no longer."""

    model: str


class RequestArrived(msgspec.Struct, frozen=True):
    """Somebody wants an answer from a model by ``deadline`` (in seconds of the caller's clock).

    Attributes:
        priority: high, normal or low; None for the model's.
        lease: the lease under which it comes: the instance held by it is the one that answers.
        batch_key: requests of a model with equal keys can run together; None for never.
        rows: how much of the model's ``batch_size`` it takes.
        keep_alive: seconds the instance may idle after it, 0 to end at once; None for as long as
            the model says.
    """

    request: int
    model: str
    deadline: float
    priority: str | None = None
    lease: int | None = None
    batch_key: Hashable = None
    rows: int = 1
    keep_alive: float | None = None


class RequestCancelled(msgspec.Struct, frozen=True):
    """Who sent this request wants no answer any more."""

    request: int


class LoadRequested(msgspec.Struct, frozen=True):
    """Somebody wants a model loaded, on ``device`` if one is named; ``operation`` names the asking.

    With ``patient`` they wait beyond the deadline for a load that goes on.
    """

    operation: int
    model: str
    device: str | None
    deadline: float
    patient: bool = False


class UnloadRequested(msgspec.Struct, frozen=True):
    """Somebody wants a model out of memory."""

    operation: int
    model: str


class LeaseRequested(msgspec.Struct, frozen=True):
    """Somebody wants an instance of a model for themselves; ``lease`` names the asking.

    With ``destroy_after_use`` the instance ends when it is given back.
    """

    lease: int
    model: str
    deadline: float
    destroy_after_use: bool = False


class LeaseReturned(msgspec.Struct, frozen=True):
    """A holder gives an instance back, or is gone."""

    lease: int


class ShrinkRequested(msgspec.Struct, frozen=True):
    """Somebody wants idle instances of a model, or of all if none is named, to end.

    ``keep`` tells how many of each model are to stay; None for the least number of each.
    """

    operation: int
    model: str | None
    keep: int | None


class LoadProgressed(msgspec.Struct, frozen=True):
    """A worker has read more of its model: so many bytes, of so many."""

    instance: int
    read_bytes: int
    total_bytes: int


class DirectOpened(msgspec.Struct, frozen=True):
    """A client talks to an instance directly from now on."""

    instance: int


class DirectUsed(msgspec.Struct, frozen=True):
    """What an instance did, since the last time, for clients that talk to it directly.

    Attributes:
        served: requests it answered.
        seconds: what it was busy with them, together.
        last_used: when it last did something for them.
        busy: it is at work for them.
        abandoned: it is at work, and none of those it works for waits any more.
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
    """Somebody wants a model asleep in main memory; one on disk is loaded for it first."""

    operation: int
    model: str
    deadline: float


class WorkerReady(msgspec.Struct, frozen=True):
    """A worker has loaded its model, or woken, and holds ``memory`` bytes.

    ``sleep_memory`` bytes would go to main memory if it slept; 0 for one that cannot. It has kept
    ``dram_memory`` bytes there, ready for the next time.
    """

    instance: int
    memory: int
    sleep_memory: int = 0
    dram_memory: int = 0


class WorkerSlept(msgspec.Struct, frozen=True):
    """A worker sleeps; what it still holds of its device, and its weights in main memory, bytes."""

    instance: int
    device_memory: int
    dram_memory: int


class WorkerDramFreed(msgspec.Struct, frozen=True):
    """A worker that is awake has given back what it kept of main memory."""

    instance: int


class SleepFailed(msgspec.Struct, frozen=True):
    """A worker could not go to sleep."""

    instance: int
    error: SireError


class WorkerLoadFailed(msgspec.Struct, frozen=True):
    """A worker could not load its model, or not wake, and is about to exit."""

    instance: int
    error: SireError
    out_of_memory: bool = False


class RequestFinished(msgspec.Struct, frozen=True):
    """A worker has answered a request, with an error or without; of a batch, one member.

    Attributes:
        peak: the most memory the worker has held so far, in bytes; 0 when it did not say.
        seconds: what the worker was busy with it, its share where it ran with others; None when it
            did not say.
    """

    instance: int
    request: int
    peak: int = 0
    error: SireError | None = None
    out_of_memory: bool = False
    seconds: float | None = None


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker's process has ended, and its memory with it; ``error`` tells how.

    ``worked_directly`` says that it was at work for a client that talks to it directly: it had
    begun nothing of what was handed to it.
    """

    instance: int
    error: SireError
    worked_directly: bool = False


class MemorySampled(msgspec.Struct, frozen=True):
    """What the drivers report as free, in bytes by device name; ``dram`` is the main memory.

    The drivers of those that are ``lost`` do not answer.
    """

    free: dict[str, int]
    dram: int | None = None
    lost: frozenset[str] = frozenset()


class TimerFired(msgspec.Struct, frozen=True):
    """The time ``Brain.wakeup`` named has come."""


Event = (
    ModelAdded
    | ModelPinned
    | ModelEstimated
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
    | TimerFired
)
