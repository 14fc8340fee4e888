"""An instance: one process that holds one model.

Loading (its memory is reserved) → Ready (its memory is measured) → Stopping → removed (its memory
is released). A Ready instance that is draining takes no new requests, and stops or falls asleep as
soon as it is idle: Suspending → Asleep → Waking → Ready. Its process can exit in any state.
ARCHITECTURE.md has a diagram.
"""

from dataclasses import dataclass, field
from itertools import islice

from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.entities.request import Request


@dataclass(slots=True)
class Loading:
    """Its process is starting or reading the model.

    Attributes:
        since: when the load started.
        attempt: 0, or 1 for the retry after the model ran out of memory.
        alive_at: when it last made progress; None before it did.
        read_bytes: bytes read so far of ``total_bytes``; both are 0 before the first report.
        on_named_device: the load, or its model, names the device.
    """

    since: float
    attempt: int
    alive_at: float | None = None
    read_bytes: int = 0
    total_bytes: int = 0
    on_named_device: bool = False


@dataclass(slots=True)
class Ready:
    """It takes requests.

    Attributes:
        since: when it had loaded or woken.
        last_used: when it last answered a request, or was last requested by hand.
        load_seconds: how long its load or wake-up took.
        draining: it takes no new requests, and ends as soon as it is idle.
        to_sleep: it is draining, and falls asleep instead of ending.
    """

    since: float
    last_used: float
    load_seconds: float
    draining: bool = False
    to_sleep: bool = False


@dataclass(frozen=True, slots=True)
class Suspending:
    """Its weights are being moved to main memory; both accounts are charged for them."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Asleep:
    """Its process is alive and its weights are in main memory; the device holds the rest."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Waking:
    """Its weights are being moved back to its device; both accounts are charged for them."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """Its process was asked to exit; its memory is not free yet."""

    since: float


@dataclass(frozen=True, slots=True)
class Turn:
    """How long a busy instance keeps its memory although a load waits for it.

    The turn is over at ``ends`` or when ``last_request`` is reached, whichever comes first.

    Attributes:
        awaited_by: the load that waits.
        ends: a time.
        last_request: a value of ``Instance.served``.
    """

    awaited_by: PendingLoad
    ends: float
    last_request: int


@dataclass(slots=True, eq=False)
class Instance:
    """An instance and the requests dispatched to it.

    Attributes:
        in_flight: the requests dispatched to it and not answered yet, oldest first.
        served: number of requests that it has answered.
        peak: the most memory that it was measured to hold, in bytes.
        turn: its current turn, while a load waits for its memory.
        last_dispatched: the number of the last batch dispatched to it; 0 before the first.
        lease: the lease that reserves it; None when it serves all requests.
        keep_alive: seconds that it may idle according to the last request that it answered; None
            for the model's setting.
        sleep_memory: bytes that move to main memory when it sleeps; 0 if it cannot sleep.
        asleep_memory: bytes that stayed on its device when it last slept; None before.
        freeing: it was asked to release the main memory that it kept when it woke.
        direct_busy: it is serving a client over a direct connection.
        abandoned_since: since when it has been serving such clients of which none waits any more.
    """

    id: int
    model: Model
    device: str
    state: Loading | Ready | Suspending | Asleep | Waking | Stopping
    in_flight: list[Request] = field(default_factory=list)
    served: int = 0
    peak: int = 0
    turn: Turn | None = None
    last_dispatched: int = 0
    lease: Lease[Request] | None = None
    keep_alive: float | None = None
    sleep_memory: int = 0
    asleep_memory: int | None = None
    freeing: bool = False
    direct_busy: bool = False
    abandoned_since: float | None = None

    @property
    def at_work(self) -> bool:
        """Whether it has unanswered requests, dispatched or over a direct connection."""
        return bool(self.in_flight) or self.direct_busy

    @property
    def batches(self) -> int:
        """Number of batches dispatched to it that are not completely answered."""
        return len({request.batch for request in self.in_flight})

    def takes_more(self, pipeline: int) -> bool:
        """Whether it can take one more batch: ``pipeline`` - 1 beside those that run."""
        beside = pipeline - 1 if self.model.pipelined else 0
        return self.batches < beside + self.model.concurrency

    @property
    def running(self) -> list[Request]:
        """The requests of the batches that it works on: workers take batches in order."""
        batches = dict.fromkeys(request.batch for request in self.in_flight)
        running = set(islice(batches, self.model.concurrency))
        return [request for request in self.in_flight if request.batch in running]

    @property
    def turn_served(self) -> bool:
        """Whether it has served the requests of its turn, and another model still waits."""
        if (turn := self.turn) is None or turn.awaited_by.resolved:
            return False
        return self.served >= turn.last_request

    @property
    def accepting(self) -> bool:
        """Whether it takes new requests, now or once it is loaded or awake."""
        match self.state:
            case Loading() | Waking():
                return True
            case Ready(draining=draining):
                return not draining
            case Suspending() | Asleep() | Stopping():
                return False

    @property
    def ending(self) -> bool:
        """Whether its process ends now, or as soon as it is idle."""
        match self.state:
            case Stopping():
                return True
            case Ready(draining=True, to_sleep=to_sleep):
                return not to_sleep
        return False

    @property
    def asleep(self) -> bool:
        """Whether it sleeps or is falling asleep."""
        return isinstance(self.state, Asleep | Suspending)

    @property
    def waits_to_sleep(self) -> bool:
        """Whether it waits only for room in main memory."""
        state = self.state
        return isinstance(state, Ready) and state.to_sleep and not self.at_work

    @property
    def idle(self) -> bool:
        """Whether it is loaded, has no work, and is not leased."""
        free = not self.at_work and self.lease is None
        return isinstance(self.state, Ready) and free and not self.state.draining

    @property
    def unneeded(self) -> bool:
        """Whether it still loads although nothing waits for its model any more."""
        return isinstance(self.state, Loading) and not self.model.needed

    @property
    def state_name(self) -> str:
        """The state as shown to users."""
        match self.state:
            case Loading():
                return "loading"
            case Ready() if self.at_work:
                return "busy"
            case Ready():
                return "leased" if self.lease else "ready"
            case Suspending():
                return "suspending"
            case Asleep():
                return "asleep"
            case Waking():
                return "waking"
            case Stopping():
                return "stopping"


def last_used(instance: Instance) -> float:
    """When an instance was last used; 0 while it loads or ends."""
    state = instance.state
    return 0.0 if isinstance(state, Loading | Stopping) else state.last_used
