"""What the brain wants done. The daemon carries out each one, in order."""

from dataclasses import dataclass

from sired.errors import SireError
from sired.scheduler.model import Model


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process for this model; ``memory`` bytes are reserved for it on ``device``."""

    instance: int
    model: Model
    device: str
    memory: int


@dataclass(frozen=True, slots=True)
class StopWorker:
    """End a worker: it is idle, or (``kill``) it does not matter what it is doing."""

    instance: int
    kill: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Hand requests to a worker, to be run together; most often it is one."""

    instance: int
    requests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer a request, a wish to load, or who waits for a lease, with an error."""

    request: int
    error: SireError


@dataclass(frozen=True, slots=True)
class Fulfil:
    """Answer a wish: to load, with the instance that is ready; to unload, with how many ended."""

    wish: int
    instance: int | None = None
    ended: int = 0


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """Tell who waits for this lease that the instance is theirs."""

    lease: int
    instance: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Told for the record: the instance of a lease that was granted has ended."""

    lease: int
    error: SireError


@dataclass(frozen=True, slots=True)
class Learn:
    """Remember what a model was measured to need on devices of this kind."""

    model: Model
    kind: str
    memory: int


@dataclass(frozen=True, slots=True)
class Evicted:
    """Told for the record: this instance is being stopped to make room for ``wanted_by``."""

    instance: int
    model: str
    wanted_by: str


Instruction = (
    StartWorker | StopWorker | Dispatch | Fail | Fulfil | LeaseGranted | LeaseLost | Learn | Evicted
)
