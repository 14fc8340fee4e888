"""What happened to models lately, in the order it did."""

import time
from collections import deque
from itertools import takewhile

from sire.protocol.counts import ModelEvent

EVENTS_KEPT = 256


class EventLog:
    """The last events, numbered from one, so that who looks again is told only what is new."""

    def __init__(self) -> None:
        self.last = 0
        self._events: deque[ModelEvent] = deque(maxlen=EVENTS_KEPT)

    def note(self, kind: str, model: str, device: str = "", words: str = "") -> None:
        """Keep an event that has just happened; its fields are those of ``ModelEvent``."""
        self.last += 1
        self._events.append(ModelEvent(self.last, time.time(), kind, model, device, words))

    def after(self, number: int) -> tuple[ModelEvent, ...]:
        """The events of higher numbers, the oldest first.

        A number that there is not yet was another daemon's: all are new then.
        """
        known = number if number <= self.last else 0
        newer = takewhile(lambda event: event.number > known, reversed(self._events))
        return tuple(reversed(list(newer)))
