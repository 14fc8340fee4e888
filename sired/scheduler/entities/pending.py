"""Loads that wait for memory, in the order in which they get it.

1. A load is due when the most urgent item that waits for the model is due (see ``queue``), but not
   before the model began to wait for memory: time that its queue spent waiting while the model was
   loaded does not count again.
2. Loads that may go to the same devices share a lane, ordered by due time. Only the first few of
   each lane are considered, so a thousand waiting models cost no more than ten; and a lane for one
   device never blocks a lane for another.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from sired.scheduler.entities.model import Model

# Number of loads considered per lane: a small model may fit where a large one before it does not.
LOOKAHEAD = 8


@dataclass(slots=True, eq=False)
class PendingLoad:
    """A load for which no memory has been reserved yet.

    Attributes:
        device: the device that it must go to; None to choose one.
        since: when it began to wait.
        due: when it should get its memory; orders the loads that wait.
        attempt: 0, or 1 for the retry after the model ran out of memory.
        min_memory: bytes that a retry needs at least.
        lane: the devices on which it can fit.
        resolved: it no longer waits: it was started or cancelled.
        number: a sequence number, the tie-breaker between loads that are due together.
    """

    model: Model
    device: str | None
    since: float
    due: float
    attempt: int = 0
    min_memory: int = 0
    lane: tuple[str, ...] = ()
    resolved: bool = False
    number: int = 0


class PendingLoads:
    """Every load that waits for memory, at most one per model."""

    def __init__(self) -> None:
        self._of: dict[Model, PendingLoad] = {}
        self._lanes: dict[tuple[str, ...], list[tuple[float, int, PendingLoad]]] = {}
        self._added = 0

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[PendingLoad]:
        return iter(self._of.values())

    def get(self, model: Model) -> PendingLoad | None:
        """The pending load of this model; None if it has none."""
        return self._of.get(model)

    def add(self, load: PendingLoad) -> None:
        """Add a load; it replaces a pending load of the same model."""
        self.remove(load.model)
        self._of[load.model] = load
        self._added += 1
        load.number = self._added
        self._enter_lane(load)

    def remove(self, model: Model) -> None:
        """Remove the pending load of a model, if it has one."""
        load = self._of.pop(model, None)
        if load is not None:
            load.resolved = True
            self._leave_lane(load)

    def expedite(self, load: PendingLoad, due: float) -> bool:
        """Move a load up if it is due earlier now; return whether it moved."""
        if due >= load.due:
            return False
        self._leave_lane(load)
        load.due = due
        self._enter_lane(load)
        return True

    def first(self) -> list[PendingLoad]:
        """The first few loads of every lane, merged in the order of their due times."""
        heads = (lane[:LOOKAHEAD] for lane in self._lanes.values())
        return [load for _, _, load in heapq.merge(*heads)]

    def _enter_lane(self, load: PendingLoad) -> None:
        insort(self._lanes.setdefault(load.lane, []), (load.due, load.number, load))

    def _leave_lane(self, load: PendingLoad) -> None:
        lane = self._lanes[load.lane]
        del lane[bisect_left(lane, (load.due, load.number))]
        if not lane:
            del self._lanes[load.lane]
