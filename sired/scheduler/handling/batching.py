"""Batching: requests that run together, as one forward pass.

1. Requests for one model with equal batch keys can share a batch. When an instance can take more,
   the request that is due first is dispatched together with those in the same queue that share its
   key, in their order, up to the model's ``batch_size`` in rows.
2. With a ``batch_delay``, a request that arrived less than that ago waits for others while there
   are fewer rows than would fill the batch, and so do the requests behind it.
3. Each member is answered separately. If a worker exits while it runs a batch, each member without
   an answer runs once more, alone: a request that ends its worker again fails, and affects no
   other. A batch that runs out of memory is treated in the same way.
"""

from sire.units import FOREVER
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from sired.scheduler.timer import Timer


class Batcher:
    """Composes batches, and remembers the models whose first request waits for others."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._waiting: dict[Model, float] = {}

    def next(self, queue: RequestQueue[Request], model: Model, now: float) -> list[Request]:
        """The next batch of a queue to dispatch now; empty while it waits for more requests."""
        if not queue:
            return []
        if model.batch_size == 1 or queue.first.batch_key is None:
            return [queue.first]
        batch = queue.batch(model.batch_size)
        ready_at = batch[0].arrived + model.batch_delay
        if ready_at <= now or sum(request.rows for request in batch) >= model.batch_size:
            return batch
        self._waiting[model] = min(ready_at, self._waiting.get(model, FOREVER))
        self._timer.schedule(ready_at)
        return []

    def due(self, now: float) -> list[Model]:
        """The models whose first request has waited long enough for others."""
        over = [model for model, when in self._waiting.items() if when <= now]
        for model in over:
            del self._waiting[model]
        for when in self._waiting.values():
            self._timer.schedule(when)
        return over


def split(requests: list[Request]) -> None:
    """Have requests run alone from now on."""
    for request in requests:
        request.batch_key = None
