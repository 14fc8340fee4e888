"""One process holding one model, as the brain sees it.

Loading (its memory is reserved) → Ready (it is measured) → Stopping → gone (its memory is
released). A Ready one that is draining takes nothing new, and stops or goes to sleep as soon as it
is idle: FallingAsleep → Asleep → Waking → Ready again. Its process can die in any state.
ARCHITECTURE.md draws this.
"""

from dataclasses import dataclass, field
from itertools import islice

from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.entities.request import Request


@dataclass(slots=True)
class Loading:
    """Its process starts or reads the model.

    Attributes:
        alive_at: when it last showed that it goes on; None before it did.
        read_bytes: what it has read of its ``total_bytes``; both are 0 until it says.
    """

    since: float
    attempt: int
    alive_at: float | None = None
    read_bytes: int = 0
    total_bytes: int = 0


@dataclass(slots=True)
class Ready:
    """It takes requests, unless it is ``draining``: to end then, or ``to_sleep``."""

    since: float
    last_used: float
    load_seconds: float
    draining: bool = False
    to_sleep: bool = False


@dataclass(frozen=True, slots=True)
class Suspending:
    """Its weights are being brought to main memory; it is charged for them here and there."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Asleep:
    """Its process stays, its weights lie in main memory, its device has the rest only."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Waking:
    """Its weights are being brought back to its device; it is charged for them here and there."""

    since: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """Its process has been told to end; its memory is not free yet."""

    since: float


@dataclass(frozen=True, slots=True)
class Turn:
    """How long an instance keeps its place although another model waits for it.

    ``ends`` is a time; ``last_request`` a count of requests served, whichever comes first.
    """

    awaited_by: PendingLoad
    ends: float
    last_request: int


@dataclass(slots=True, eq=False)
class Instance:
    """An instance, what it is doing, and the requests it has been handed, oldest first.

    Attributes:
        peak: the most memory it was ever measured to hold, in bytes.
        lease: whom it is kept for; None when it serves everybody.
        keep_alive: how long it may idle by the last request that it answered; None for as long as
            its model says.
        last_handed: tells in what order the instances of a model were handed requests.
        direct_busy: it works for a client that talks to it directly.
        abandoned_since: since when it works on what no such client waits for any more.
        sleep_memory: bytes that go to main memory when it sleeps; 0 for one that cannot.
        freeing: it was told to give back the main memory that it kept when it woke.
        asleep_memory: bytes that stayed on its device when it last slept; None before.
    """

    id: int
    model: Model
    device: str
    state: Loading | Ready | Suspending | Asleep | Waking | Stopping
    in_flight: list[Request] = field(default_factory=list)
    served: int = 0
    peak: int = 0
    turn: Turn | None = None
    last_handed: int = 0
    lease: Lease | None = None
    keep_alive: float | None = None
    sleep_memory: int = 0
    asleep_memory: int | None = None
    freeing: bool = False
    direct_busy: bool = False
    abandoned_since: float | None = None

    @property
    def at_work(self) -> bool:
        """Whether it has been handed requests that it has not answered, by whomever."""
        return bool(self.in_flight) or self.direct_busy

    @property
    def batches(self) -> int:
        """How many batches it has been handed that are not wholly answered."""
        return len({request.batch for request in self.in_flight})

    def takes_more(self, pipeline: int) -> bool:
        """Whether it can be handed one more batch: ``pipeline`` less one beside those running."""
        return self.batches < pipeline - 1 + self.model.concurrency

    @property
    def running(self) -> list[Request]:
        """The batches it works on: it takes them in the order they came."""
        batches = dict.fromkeys(request.batch for request in self.in_flight)
        running = set(islice(batches, self.model.concurrency))
        return [request for request in self.in_flight if request.batch in running]

    @property
    def turn_served(self) -> bool:
        """Whether it has served as many requests as it may while another model waits."""
        if (turn := self.turn) is None or turn.awaited_by.resolved:
            return False
        return self.served >= turn.last_request

    @property
    def accepting(self) -> bool:
        """Whether it is, or will be, of use to new requests."""
        match self.state:
            case Loading() | Waking():
                return True
            case Ready(draining=draining):
                return not draining
            case Suspending() | Asleep() | Stopping():
                return False

    @property
    def ending(self) -> bool:
        """Whether its process ends, now or as soon as it is idle."""
        match self.state:
            case Stopping():
                return True
            case Ready(draining=True, to_sleep=to_sleep):
                return not to_sleep
        return False

    @property
    def asleep(self) -> bool:
        """Whether it sleeps, or is about to."""
        return isinstance(self.state, Asleep | Suspending)

    @property
    def waits_to_sleep(self) -> bool:
        """Whether all it waits for is room in main memory."""
        state = self.state
        return isinstance(state, Ready) and state.to_sleep and not self.at_work

    @property
    def idle(self) -> bool:
        """Whether it is loaded, does nothing, and is kept for nobody."""
        free = not self.at_work and self.lease is None
        return isinstance(self.state, Ready) and free and not self.state.draining

    @property
    def unneeded(self) -> bool:
        """Whether it still loads, and nobody waits for it any more."""
        return isinstance(self.state, Loading) and not self.model.needed

    @property
    def state_name(self) -> str:
        """The state in the word users read."""
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
    """When an instance was last used; 0 for one that never was ready, or ends."""
    state = instance.state
    return 0.0 if isinstance(state, Loading | Stopping) else state.last_used
