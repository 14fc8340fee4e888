"""What the brain wants done. The daemon carries out each one, in order."""

import msgspec

from sire.errors import SireError
from sired.scheduler.entities.model import Model


class StartWorker(msgspec.Struct, frozen=True):
    """Start a process for this model; ``memory`` bytes are reserved for it on ``device``."""

    instance: int
    model: Model
    device: str
    memory: int


class StopWorker(msgspec.Struct, frozen=True):
    """End a worker: it is idle, or (``kill``) it does not matter what it is doing."""

    instance: int
    kill: bool = False


class SleepWorker(msgspec.Struct, frozen=True):
    """Have a worker bring its weights to main memory, and give its device's memory back."""

    instance: int


class WakeWorker(msgspec.Struct, frozen=True):
    """Have a worker bring its weights back to its device."""

    instance: int


class FreeWorkerDram(msgspec.Struct, frozen=True):
    """Have a worker that is awake give back what it kept of main memory."""

    instance: int


class Dispatch(msgspec.Struct, frozen=True):
    """Hand requests to a worker, to be run together; most often it is one."""

    instance: int
    requests: tuple[int, ...]


class Fail(msgspec.Struct, frozen=True):
    """Answer a request, a wish to load, or who waits for a lease, with an error."""

    request: int
    error: SireError


class Complete(msgspec.Struct, frozen=True):
    """Answer a wish: to unload, with how many ended; else with who is ready, or asleep."""

    operation: int
    instance: int | None = None
    ended: int = 0


class LeaseGranted(msgspec.Struct, frozen=True):
    """Tell who waits for this lease that the instance is theirs."""

    lease: int
    instance: int


class LeaseLost(msgspec.Struct, frozen=True):
    """Told for the record: the instance of a lease that was granted has ended."""

    lease: int
    error: SireError


class CloseDirect(msgspec.Struct, frozen=True):
    """Close the direct connections to this instance, once it has answered what came over them."""

    instance: int


class ReloadModel(msgspec.Struct, frozen=True):
    """Wish for this model, of which an instance was lost with its device."""

    model: str


class Learn(msgspec.Struct, frozen=True):
    """Remember what a model was measured to need on devices of this kind."""

    model: Model
    kind: str
    memory: int


class Evicted(msgspec.Struct, frozen=True):
    """Told for the record: this instance gives way to ``wanted_by``, to sleep or for good."""

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
