"""Requests and wishes from their arrival to their answer: admission, deadlines, failing."""

import heapq
from collections.abc import Iterable

from sired.errors import SireError
from sired.scheduler.instructions import Fail, Instruction
from sired.scheduler.model import Model
from sired.scheduler.request import Request
from sired.scheduler.rules import Rules
from sired.units import FOREVER


class Queues:
    """Every request that has no answer yet; each waits in its model's queue or is in flight.

    Attributes:
        requests: by id, as long as nobody has answered them.
        wishes: models that somebody wants loaded, by the wish's id.
    """

    def __init__(self, rules: Rules, out: list[Instruction]) -> None:
        self.requests: dict[int, Request] = {}
        self.wishes: dict[int, Model] = {}
        self._rules = rules
        self._out = out
        self._deadlines: list[tuple[float, int]] = []
        self._waiting = 0

    def adopt(self, rules: Rules) -> None:
        """Go by these rules from now on."""
        self._rules = rules

    @property
    def waiting(self) -> int:
        """Requests in queues, of all models together."""
        return self._waiting

    def admit(self, request: Request, model: Model) -> None:
        """Queue a request."""
        self.requests[request.id] = request
        self.watch(request.deadline, request.id)
        self._waiting += 1
        model.queue.add(request)

    def full(self, model: Model) -> str | None:
        """The setting that allows no further request, "per_model" or "total"; None for neither."""
        if len(model.queue) >= self._rules.queue_per_model:
            return "per_model"
        return "total" if self._waiting >= self._rules.queue_total else None

    def wish(self, wish: int, model: Model, deadline: float) -> None:
        """Note that somebody wants a model loaded."""
        self.wishes[wish] = model
        model.wishes.add(wish)
        self.watch(deadline, wish)

    def watch(self, deadline: float, number: int) -> None:
        """Have ``overdue`` name this request or wish once its deadline has come."""
        heapq.heappush(self._deadlines, (deadline, number))
        # The answered leave their entries behind: sweep before they outnumber the others.
        if len(self._deadlines) > 64 + 2 * (len(self.requests) + len(self.wishes)):
            live = [e for e in self._deadlines if e[1] in self.requests or e[1] in self.wishes]
            self._deadlines = live
            heapq.heapify(self._deadlines)

    def overdue(self, now: float) -> Iterable[int]:
        """The requests and wishes whose deadline has come, each once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            if number in self.requests or number in self.wishes:
                yield number

    def next_deadline(self) -> float:
        """The earliest deadline, possibly of something answered by now."""
        return self._deadlines[0][0] if self._deadlines else FOREVER

    def take(self, model: Model, instance: int) -> Request:
        """Take the request that is due first, for an instance."""
        request = model.queue.pop()
        self._waiting -= 1
        request.instance = instance
        request.attempts += 1
        return request

    def put_back(self, requests: list[Request], model: Model) -> None:
        """Put requests back where they stood in the queue."""
        for request in requests:
            if not request.answered:
                request.instance = None
                self._waiting += 1
                model.queue.add(request)

    def withdraw(self, request: Request, model: Model) -> None:
        """Take a request out of its queue, if it still waits there."""
        if request.instance is None:
            model.queue.remove(request)
            self._waiting -= 1

    def answered(self, request: Request) -> None:
        """Forget a request: its answer is on its way."""
        request.answered = True
        self.requests.pop(request.id, None)

    def fail(self, request: Request, error: SireError) -> None:
        """Answer a request with an error, unless it was answered before."""
        if not request.answered:
            self.answered(request)
            self._out.append(Fail(request.id, error))

    def fail_wish(self, wish: int, error: SireError) -> None:
        """Answer a wish to load with an error."""
        self.wishes.pop(wish).wishes.discard(wish)
        self._out.append(Fail(wish, error))

    def fail_wishes(self, model: Model, error: SireError) -> None:
        """Answer everybody who wants this model loaded with an error."""
        for wish in sorted(model.wishes):
            self.fail_wish(wish, error)

    def fail_all(self, model: Model, error: SireError) -> None:
        """Answer everybody who waits for this model with an error."""
        while model.queue:
            self._waiting -= 1
            self.fail(model.queue.pop(), error)
        self.fail_wishes(model, error)

    def move(self, old: Model, new: Model) -> None:
        """Let everything that waits for the old model wait for the new one of that name."""
        new.queue, old.queue = old.queue, new.queue
        new.wishes, old.wishes = old.wishes, new.wishes
        for wish in new.wishes:
            self.wishes[wish] = new
