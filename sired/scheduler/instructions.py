"""What the brain instructs. The daemon carries out each instruction, in order.

``effects.Effects`` states what carrying out each of them means.
"""

import msgspec

from sire.errors import SireError
from sired.scheduler.entities.model import Model


class StartWorker(msgspec.Struct, frozen=True):
    """Start a process for an instance of ``model``; ``memory`` bytes are charged on ``device``."""

    instance: int
    model: Model
    device: str
    memory: int


class StopWorker(msgspec.Struct, frozen=True):
    """End a worker: it is idle, or with ``kill`` whatever it is doing."""

    instance: int
    kill: bool = False


class SleepWorker(msgspec.Struct, frozen=True):
    """Have a worker move its weights to main memory and release its device's memory."""

    instance: int


class WakeWorker(msgspec.Struct, frozen=True):
    """Have a worker move its weights back to its device."""

    instance: int


class FreeWorkerDram(msgspec.Struct, frozen=True):
    """Have a worker that is awake release the main memory it kept for its next sleep."""

    instance: int


class Dispatch(msgspec.Struct, frozen=True):
    """Send requests to a worker, to be run together; usually there is one."""

    instance: int
    requests: tuple[int, ...]


class Fail(msgspec.Struct, frozen=True):
    """Answer an operation (a prediction, a load, a lease, …) with an error."""

    operation: int
    error: SireError


class Complete(msgspec.Struct, frozen=True):
    """Answer an operation other than a prediction or a lease.

    Attributes:
        instance: the instance that is ready or asleep; None for an unload or a shrink.
        ended: how many instances an unload or a shrink ended.
    """

    operation: int
    instance: int | None = None
    ended: int = 0


class LeaseGranted(msgspec.Struct, frozen=True):
    """Answer the operation that asked for a lease: ``instance`` is reserved for its holder."""

    lease: int
    instance: int


class LeaseLost(msgspec.Struct, frozen=True):
    """For the record: the instance of a granted lease has ended."""

    lease: int
    error: SireError


class CloseDirect(msgspec.Struct, frozen=True):
    """Close the direct connections to an instance once it has answered what they carried."""

    instance: int


class ReloadModel(msgspec.Struct, frozen=True):
    """Load a model again: one of its instances was lost with its device."""

    model: str


class Learn(msgspec.Struct, frozen=True):
    """Remember the bytes a model was measured to need on devices of this kind."""

    model: Model
    kind: str
    memory: int


class Evicted(msgspec.Struct, frozen=True):
    """For the record: an instance makes room for ``wanted_by``, by ending or by going to sleep."""

    instance: int
    model: str
    wanted_by: str


Instruction = (
    StartWorker
    | StopWorker
    | SleepWorker
    | WakeWorker
    | FreeWorkerDram
    | Dispatch
    | Fail
    | Complete
    | LeaseGranted
    | LeaseLost
    | CloseDirect
    | ReloadModel
    | Learn
    | Evicted
)
