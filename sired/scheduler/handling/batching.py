"""Requests that run together, as one forward pass.

1. Requests of one model with equal batch keys fit together. When an instance can take more, the
   request that is due first goes, and with it those in the same line that fit, in their order, up
   to the model's ``batch_size`` in rows.
2. With a ``batch_delay``, a request that came less than that ago waits for others as long as there
   are fewer rows than would fill the batch; so does who stands behind it.
3. Every member is answered by itself. A worker that ends under a batch has each member that was
   not answered run once more, alone: what ends the worker again fails, and has harmed nobody else.
   So is a batch run again that was too much for the memory.
"""

from sire.units import FOREVER
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.queue import RequestQueue
from sired.scheduler.entities.request import Request
from sired.scheduler.timer import Timer


class Batcher:
    """Puts batches together, and remembers whose first request waits for others."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._waiting: dict[Model, float] = {}

    def next(self, line: RequestQueue, model: Model, now: float) -> list[Request]:
        """What of a line is to go now, in one batch; nothing while it waits for more."""
        if not line:
            return []
        if model.batch_size == 1 or line.first.batch_key is None:
            return [line.first]
        batch = line.batch(model.batch_size)
        ready_at = batch[0].arrived + model.batch_delay
        if ready_at <= now or sum(request.rows for request in batch) >= model.batch_size:
            return batch
        self._waiting[model] = min(ready_at, self._waiting.get(model, FOREVER))
        self._timer.schedule(ready_at)
        return []

    def due(self, now: float) -> list[Model]:
        """The models whose requests have waited long enough for others."""
        over = [model for model, when in self._waiting.items() if when <= now]
        for model in over:
            del self._waiting[model]
        for when in self._waiting.values():
            self._timer.schedule(when)
        return over


def split(requests: list[Request]) -> None:
    """Have the members of a batch run alone from now on."""
    for request in requests:
        request.batch_key = None
