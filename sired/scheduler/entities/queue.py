"""Requests in the order they are to be served.

How the order comes about:

1. A request has a class: high, normal or low. One that asks for none has its model's.
2. It is due the moment it arrives if its class is high, ``ageing`` seconds later if it is normal,
   twice that if it is low. Who is due first is served first; who is due together, as they came.
3. So each climbs one class every ``ageing`` seconds, and a low one waits at most for those that
   came before it and for what comes within twice ``ageing``, whatever the load.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a request may come under a lease, which has a line of requests
    from sired.scheduler.entities.request import Request

CLASSES = ("high", "normal", "low")
# In seconds: with more, the classes are served strictly one after the other, and still in order.
LONGEST_AGEING = 1e9


def due(arrived: float, priority: str, ageing: float) -> float:
    """When a request that arrived then is due."""
    return arrived + CLASSES.index(priority) * min(ageing, LONGEST_AGEING)


class RequestQueue:
    """Requests by when they are due.

    Sorted lists, one of all and one for each batch key: a place in one is found by O(log n)
    comparisons; making room there moves eight bytes for each request behind it, of which there
    are none where all have the same class.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Request]] = []
        self._by_key: dict[Hashable, list[tuple[float, int, Request]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> "Iterator[Request]":
        return (request for _, _, request in self._entries)

    @property
    def first(self) -> "Request":
        """The request to serve next."""
        return self._entries[0][2]

    def add(self, request: "Request") -> None:
        """Put a request where it belongs."""
        insort(self._entries, (*request.order, request))
        if request.batch_key is not None:
            alike = self._by_key.setdefault(request.batch_key, [])
            insort(alike, (*request.order, request))

    def pop(self) -> "Request":
        """Take out the request to serve next."""
        request = self.first
        self.remove(request)
        return request

    def ahead_of(self, request: "Request") -> int:
        """How many are served before this one."""
        return bisect_left(self._entries, request.order)

    def remove(self, request: "Request") -> None:
        """Take out a request that is in it."""
        del self._entries[self.ahead_of(request)]
        if request.batch_key is not None:
            alike = self._by_key[request.batch_key]
            del alike[bisect_left(alike, request.order)]
            if not alike:
                del self._by_key[request.batch_key]

    def batch(self, size: int) -> "list[Request]":
        """The request to serve next and those that can run with it, of so many rows at most.

        They stay in the line. The first is among them, however many rows it has.
        """
        first = self.first
        members, rows = [first], first.rows
        for _, _, request in islice(self._by_key.get(first.batch_key, ()), 1, None):
            rows += request.rows
            if rows > size:
                break
            members.append(request)
        return members
