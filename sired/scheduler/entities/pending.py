"""Loads that wait for memory, in the order they are to have it.

1. A load is due when the most urgent of those who wait for the model is due (``line`` tells when
   that is), but not before the model began to wait for memory: what its queue had to wait while
   it was loaded does not count again.
2. Loads that may go to the same devices stand in one lane, by when they are due. Only the first
   few of each lane are looked at, so that a thousand models that wait cost no more than ten; and
   a lane for one device never holds up a lane for another.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from sired.scheduler.entities.model import Model

# How many of a lane are looked at: a small model may fit where a large one before it does not.
LOOK = 8


@dataclass(slots=True, eq=False)
class PendingLoad:
    """A model that is to be loaded and has no memory reserved yet.

    Attributes:
        device: where it has to go; None to choose.
        since: when it began to wait.
        due: when it should have its memory; orders those that wait.
        attempt: 1 after it once ran out of memory.
        min_memory: bytes it is known to need by then.
        lane: the devices on which it can fit.
        resolved: it waits no longer: it was started, or nobody wants it.
        number: counts the loads, to tell those apart that are due together.
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
    """Every load that waits for memory, one a model."""

    def __init__(self) -> None:
        self._of: dict[Model, PendingLoad] = {}
        self._lanes: dict[tuple[str, ...], list[tuple[float, int, PendingLoad]]] = {}
        self._added = 0

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[PendingLoad]:
        return iter(self._of.values())

    def get(self, model: Model) -> PendingLoad | None:
        """The load of this model, if it waits."""
        return self._of.get(model)

    def add(self, load: PendingLoad) -> None:
        """Let a load wait, instead of another of its model if there is one."""
        self.remove(load.model)
        self._of[load.model] = load
        self._added += 1
        load.number = self._added
        self._enter_lane(load)

    def remove(self, model: Model) -> None:
        """Let a model's load wait no longer."""
        load = self._of.pop(model, None)
        if load is not None:
            load.resolved = True
            self._leave_lane(load)

    def expedite(self, load: PendingLoad, due: float) -> bool:
        """Somebody may be more urgent who waits for it now; whether it moved up for them."""
        if due >= load.due:
            return False
        self._leave_lane(load)
        load.due = due
        self._enter_lane(load)
        return True

    def first(self) -> list[PendingLoad]:
        """The first few of each lane, all together by when they are due."""
        heads = (lane[:LOOK] for lane in self._lanes.values())
        return [load for _, _, load in heapq.merge(*heads)]

    def _enter_lane(self, load: PendingLoad) -> None:
        insort(self._lanes.setdefault(load.lane, []), (load.due, load.number, load))

    def _leave_lane(self, load: PendingLoad) -> None:
        lane = self._lanes[load.lane]
        del lane[bisect_left(lane, (load.due, load.number))]
        if not lane:
            del self._lanes[load.lane]
