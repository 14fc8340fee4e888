"""Items in the order they are to be served.

How the order comes about:

1. A request has a priority class: high, normal or low. A request that names none gets its model's.
2. A request of class high is due on arrival, one of class normal ``ageing`` seconds later, one of
   class low twice that. Requests are served by due time; equal due times, in order of arrival.
3. Each request therefore climbs one class every ``ageing`` seconds. A low request waits at most
   for those that arrived before it and for what arrives within twice ``ageing``, whatever the load.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

CLASSES = ("high", "normal", "low")
# Seconds. A longer ageing serves the classes strictly one after the other, and still in order.
LONGEST_AGEING = 1e9


def due(arrived: float, priority: str, ageing: float) -> float:
    """The time at which a request that arrived at ``arrived`` is due."""
    return arrived + CLASSES.index(priority) * min(ageing, LONGEST_AGEING)


class Queued(Protocol):
    """What a queue needs to know of an item.

    Attributes:
        order: the sort key: due time and number, smallest first.
        batch_key: items with equal keys can run together; None for one that runs alone.
        rows: how much of a batch the item takes.
    """

    @property
    def order(self) -> tuple[float, int]:
        """The sort key: due time and number, smallest first."""

    @property
    def batch_key(self) -> Hashable:
        """Items with equal keys can run together; None for one that runs alone."""

    @property
    def rows(self) -> int:
        """How much of a batch the item takes."""


Item = TypeVar("Item", bound=Queued)


class RequestQueue(Generic[Item]):
    """Items sorted by due time.

    There is one sorted list of all items and one for each batch key. Finding a place takes
    O(log n) comparisons. Inserting moves eight bytes for each item behind that place, and there is
    none behind it where all items have the same class.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Item]] = []
        self._by_key: dict[Hashable, list[tuple[float, int, Item]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        return (item for _, _, item in self._entries)

    @property
    def first(self) -> Item:
        """The item to serve next.

        Raises:
            IndexError: the queue is empty.
        """
        return self._entries[0][2]

    def add(self, item: Item) -> None:
        """Insert an item at its place."""
        insort(self._entries, (*item.order, item))
        if item.batch_key is not None:
            alike = self._by_key.setdefault(item.batch_key, [])
            insort(alike, (*item.order, item))

    def pop(self) -> Item:
        """Remove and return the item to serve next."""
        item = self.first
        self.remove(item)
        return item

    def ahead_of(self, item: Item) -> int:
        """How many items are served before this one."""
        return bisect_left(self._entries, item.order)

    def remove(self, item: Item) -> None:
        """Remove an item that is in the queue."""
        del self._entries[self.ahead_of(item)]
        if item.batch_key is not None:
            alike = self._by_key[item.batch_key]
            del alike[bisect_left(alike, item.order)]
            if not alike:
                del self._by_key[item.batch_key]

    def batch(self, size: int) -> list[Item]:
        """The item to serve next and those that can run with it, up to ``size`` rows together.

        They stay in the queue. The first item is always included, however many rows it has.
        """
        first = self.first
        members, rows = [first], first.rows
        for _, _, item in islice(self._by_key.get(first.batch_key, ()), 1, None):
            rows += item.rows
            if rows > size:
                break
            members.append(item)
        return members
