"""The most recent events of models, in order."""

import time
from collections import deque
from itertools import takewhile

from sire.protocol.counts import ModelEvent

EVENTS_KEPT = 256


class EventLog:
    """The last events, numbered from 1, so that a client can ask for those it has not seen.

    Attributes:
        last: the number of the last event; 0 before the first.
    """

    def __init__(self) -> None:
        self.last = 0
        self._events: deque[ModelEvent] = deque(maxlen=EVENTS_KEPT)

    def add(self, kind: str, model: str, device: str = "", words: str = "") -> None:
        """Add an event that has just happened; the arguments are fields of ``ModelEvent``."""
        self.last += 1
        self._events.append(ModelEvent(self.last, time.time(), kind, model, device, words))

    def after(self, number: int) -> tuple[ModelEvent, ...]:
        """The events with higher numbers, oldest first.

        A number that has not been given yet comes from an earlier daemon: all events are new then.
        """
        known = number if number <= self.last else 0
        newer = takewhile(lambda event: event.number > known, reversed(self._events))
        return tuple(reversed(list(newer)))
