"""Requests, operations and leases until they are answered: admission, deadlines, failing."""

import heapq
from collections.abc import Iterable

from sire.errors import SireError
from sire.units import FOREVER
from sired.scheduler.entities.held_inputs import HeldInputs
from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from sired.scheduler.instructions import Fail, Instruction
from sired.scheduler.rules import Rules


class Queues:
    """Everything that has no answer yet: requests, operations that load models, lease requests.

    A request waits in the queue of its model or lease, or is in flight at an instance.

    Attributes:
        requests: the unanswered requests, by id.
        operations: the models that unanswered operations load, by the id of the operation.
        patient: ids of the operations that wait beyond their deadline for a load in progress.
        leases: the leases that are not granted yet, by id.
        held: the bytes of the inputs of all unanswered requests.
    """

    def __init__(self, rules: Rules, out: list[Instruction]) -> None:
        self.requests: dict[int, Request] = {}
        self.operations: dict[int, Model] = {}
        self.patient: set[int] = set()
        self.leases: dict[int, Lease[Request]] = {}
        self._rules = rules
        self._out = out
        self._deadlines: list[tuple[float, int]] = []
        self._waiting = 0
        self.held = HeldInputs()
        self._batches = 0

    def adopt(self, rules: Rules) -> None:
        """Use these rules from now on."""
        self._rules = rules

    @property
    def waiting(self) -> int:
        """Number of requests in all queues together."""
        return self._waiting

    def admit(self, request: Request, queue: RequestQueue[Request]) -> None:
        """Add a request to the queue of its model or lease."""
        self.requests[request.id] = request
        self.held.add(request.client, request.size)
        self.add_deadline(request.deadline, request.id)
        self._waiting += 1
        queue.add(request)

    def full(self, model: Model, client: str, size: int) -> str | None:
        """The limit that keeps a request out; None if none does.

        Args:
            model: the model it is for.
            client: who sent it.
            size: bytes of its input.

        Returns:
            The name of the setting: "per_model", "total" or "memory".
        """
        if len(model.queue) >= self._rules.queue_per_model:
            return "per_model"
        if self._waiting >= self._rules.queue_total:
            return "total"
        return None if self.held.fits(client, size, self._rules.queue_memory) else "memory"

    def add_operation(
        self, operation: int, model: Model, deadline: float, *, patient: bool = False
    ) -> None:
        """Add an operation that loads a model."""
        self.operations[operation] = model
        if patient:
            self.patient.add(operation)
        model.operations.add(operation)
        self.add_deadline(deadline, operation)

    def add_lease(self, lease: Lease[Request], model: Model, deadline: float) -> None:
        """Add a lease that waits for an instance of a model."""
        self.leases[lease.id] = lease
        model.leases.append(lease)
        self.add_deadline(deadline, lease.id)

    def add_deadline(self, deadline: float, number: int) -> None:
        """Have ``overdue`` return this request, operation or lease once its deadline has passed."""
        heapq.heappush(self._deadlines, (deadline, number))
        # Entries stay behind after an answer: remove them before they outnumber the others.
        unanswered = len(self.requests) + len(self.operations) + len(self.leases)
        if len(self._deadlines) > 64 + 2 * unanswered:
            self._deadlines = [entry for entry in self._deadlines if self.is_open(entry[1])]
            heapq.heapify(self._deadlines)

    def is_open(self, number: int) -> bool:
        """Whether a request, operation or lease request has no answer yet."""
        return number in self.requests or number in self.operations or number in self.leases

    def overdue(self, now: float) -> Iterable[int]:
        """The requests, operations and leases whose deadline has passed, each once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            if self.is_open(number):
                yield number

    def next_deadline(self) -> float:
        """The earliest deadline, possibly of something that has been answered."""
        return self._deadlines[0][0] if self._deadlines else FOREVER

    def assign(self, queue: RequestQueue[Request], batch: list[Request], instance: int) -> None:
        """Move requests from their queue to an instance, which runs them as one batch."""
        self._batches += 1
        for request in batch:
            queue.remove(request)
            self._waiting -= 1
            request.instance = instance
            request.batch = self._batches
            request.together = len(batch) > 1
            request.attempts += 1

    def requeue(self, request: Request, queue: RequestQueue[Request]) -> None:
        """Return a request to its previous position in its queue."""
        if not request.answered:
            request.instance = None
            self._waiting += 1
            queue.add(request)

    def queue_of(self, request: Request, model: Model) -> RequestQueue[Request]:
        """The queue in which a request waits."""
        return request.lease.queue if request.lease else model.queue

    def withdraw(self, request: Request, model: Model) -> None:
        """Remove a request from its queue if it still waits there."""
        if request.instance is None:
            self.queue_of(request, model).remove(request)
            self._waiting -= 1

    def answered(self, request: Request) -> None:
        """Remove a request that has been answered."""
        request.answered = True
        if self.requests.pop(request.id, None) is not None:
            self.held.remove(request.client, request.size)

    def fail(self, request: Request, error: SireError) -> None:
        """Fail a request, unless it was answered before."""
        if not request.answered:
            self.answered(request)
            self._out.append(Fail(request.id, error))

    def fail_operation(self, operation: int, error: SireError) -> None:
        """Fail an operation that loads a model."""
        self.drop_operation(operation)
        self._out.append(Fail(operation, error))

    def drop_operation(self, operation: int) -> None:
        """Remove an operation that has been answered."""
        self.operations.pop(operation).operations.discard(operation)
        self.patient.discard(operation)

    def fail_operations(self, model: Model, error: SireError) -> None:
        """Fail every operation that loads this model."""
        for operation in sorted(model.operations):
            self.fail_operation(operation, error)

    def fail_all(self, model: Model, error: SireError) -> None:
        """Fail everything that waits for this model."""
        self.fail_queue(model.queue, error)
        self.fail_operations(model, error)
        while model.leases:
            lease = model.leases.pop(0)
            del self.leases[lease.id]
            self._out.append(Fail(lease.id, error))

    def fail_queue(self, queue: RequestQueue[Request], error: SireError) -> None:
        """Fail every request in a queue."""
        while queue:
            self._waiting -= 1
            self.fail(queue.pop(), error)

    def transfer(self, old: Model, new: Model) -> None:
        """Move everything that waits for a model to the new model of the same name."""
        new.queue, old.queue = old.queue, new.queue
        new.operations, old.operations = old.operations, new.operations
        new.leases, old.leases = old.leases, new.leases
        for operation in new.operations:
            self.operations[operation] = new
