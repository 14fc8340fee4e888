"""A registered model as the scheduler sees it."""

from dataclasses import dataclass, field

from sired.scheduler.entities.backoff import Backoff
from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from sired.scheduler.policies.reuse import ReuseHistory
from sired.scheduler.rules import Rules


@dataclass(slots=True, eq=False)
class Model:
    """A registered model, the requests that wait for it, and the memory that it needs.

    Attributes:
        device: the device that it must be loaded on, or "auto".
        group: the name of its group, whose models share a limit on memory; "" for none.
        declared: maximum memory stated by the user, in bytes; None if not stated.
        weights: size of the weights according to the file, in bytes.
        everything: ``weights`` is all that the model allocates, as its own code reports it.
        process: bytes that a process takes for what it imports itself, by kind of device.
        learned: memory measured so far, in bytes by kind of device.
        keep_alive: seconds that it may idle; None for the default of the rules.
        pinned: it is not evicted and does not expire.
        kept: it does not expire for the time being, but may be evicted.
        priority: the class of requests that state none: high, normal or low.
        weight: its share, relative to other models' weights, of a device they compete for.
        min_instances: minimum number of instances while it is loaded and memory is free.
        max_instances: maximum number of instances; None for the limit of the rules.
        batch_size: maximum number of rows in one batch.
        batch_delay: seconds that a request waits for others to fill its batch.
        concurrency: number of batches that an instance works on at the same time.
        pipelined: an instance is given a batch more than it works on, so that none is late.
        service_seconds: average time that a request occupies a worker; None until measured.
        history: when it was requested and how long it took to load.
        backoff: its recent failures.
        queue: the requests that wait for it.
        operations: ids of the pending operations that load it.
        leases: the leases for which no instance is reserved yet, in the order of their arrival.
    """

    name: str
    device: str = "auto"
    group: str = ""
    declared: int | None = None
    weights: int = 0
    everything: bool = False
    process: dict[str, int] = field(default_factory=dict)
    learned: dict[str, int] = field(default_factory=dict)
    keep_alive: float | None = None
    pinned: bool = False
    kept: bool = False
    priority: str = "normal"
    weight: float = 1.0
    min_instances: int = 1
    max_instances: int | None = 1
    batch_size: int = 1
    batch_delay: float = 0.0
    concurrency: int = 1
    pipelined: bool = True
    service_seconds: float | None = None
    history: ReuseHistory = field(default_factory=ReuseHistory)
    backoff: Backoff = field(default_factory=Backoff)
    queue: RequestQueue[Request] = field(default_factory=RequestQueue)
    operations: set[int] = field(default_factory=set)
    leases: list[Lease[Request]] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether requests, operations or leases wait for it."""
        return bool(self.queue or self.operations or self.leases)

    def footprint(self, kind: str, rules: Rules) -> tuple[int, str]:
        """Bytes to reserve for a load on a device of this kind, and where that figure comes from.

        The best source wins: "declared" by the user, "learned" by measuring earlier loads and
        requests, or "estimated" from the size of the file. A declaration that was exceeded does not
        count.
        """
        learned = self.learned.get(kind)
        if not self.uses(kind):
            return 0, "learned"
        if self.declared is not None and not self.exceeds_declared(kind):
            return self.declared, "declared"
        if learned is not None:
            return learned, "learned"
        weights = self.weights if self.everything else int(self.weights * rules.file_factor)
        return weights + self.process.get(kind, 0) + rules.overhead[kind], "estimated"

    def uses(self, kind: str) -> bool:
        """Whether it needs memory of a kind of device, as far as that is known."""
        return self.learned.get(kind) != 0

    def exceeds_declared(self, kind: str) -> bool:
        """Whether more was measured on devices of a kind than the user declared."""
        return self.declared is not None and self.learned.get(kind, 0) > self.declared
