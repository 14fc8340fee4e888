"""Request rates of the last minutes, and recent events, collected from successive reports."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from rich.text import Text

from sire.protocol.counts import ModelEvent
from sire.protocol.replies import TopReport

MINUTES = 3
_SECONDS = 60.0 * MINUTES
_EVENTS_KEPT = 200
_BARS = "▁▂▃▄▅▆▇█"


class RateHistory:
    """Collects request rates and events from successive reports.

    Attributes:
        last: the number of the last known event; the next report is to start after it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last = 0
        self._events: deque[ModelEvent] = deque(maxlen=_EVENTS_KEPT)
        # One thread adds reports, another draws.
        self._lock = threading.Lock()
        self._clock = clock
        self._daemon: int | None = None
        self._rates: deque[tuple[float, dict[str, float]]] = deque()

    def add(self, report: TopReport) -> None:
        """Add a report."""
        with self._lock:
            self._add(report)

    def _add(self, report: TopReport) -> None:
        if self._daemon not in (None, report.health.pid):
            # A new daemon numbers events from one: request all of them with the next report.
            self.last = 0
        else:
            self._events.extendleft(report.events)
            self.last = max([self.last, *(event.number for event in report.events)])
        self._daemon = report.health.pid
        now = self._clock()
        rates = {one.model: one.requests_per_second for one in report.stats.models}
        self._rates.append((now, {model: rate for model, rate in rates.items() if rate}))
        while now - self._rates[0][0] > _SECONDS:
            self._rates.popleft()

    @property
    def events(self) -> tuple[ModelEvent, ...]:
        """Recent events, latest first."""
        with self._lock:
            return tuple(self._events)

    def rates(self, model: str | None, cells: int) -> list[float | None]:
        """Requests per second over the last minutes; None for times without a report.

        Args:
            model: name of the model; None for the sum of all models.
            cells: number of values to return, latest last.
        """
        now, sums, counts = self._clock(), [0.0] * cells, [0] * cells
        with self._lock:
            samples = tuple(self._rates)
        for at, rates in samples:
            cell = cells - 1 - int((now - at) / _SECONDS * cells)
            if cell >= 0:
                sums[cell] += sum(rates.values()) if model is None else rates.get(model, 0.0)
                counts[cell] += 1
        means = [total / n if n else None for total, n in zip(sums, counts, strict=True)]
        return _fill_gaps(means)


def _fill_gaps(values: list[float | None]) -> list[float | None]:
    """Repeat the last value where reports are further apart than cells."""
    last = None
    result = []
    for value in values:
        last = last if value is None else value
        result.append(last)
    return result


def sparkline(values: Sequence[float | None], style: str = "") -> Text:
    """One bar per value, scaled to the highest; a space for None."""
    highest = max((value for value in values if value is not None), default=0.0)
    line = Text()
    for value in values:
        if value is None:
            line.append(" ")
        elif not value or not highest:
            line.append(_BARS[0], "dim")
        else:
            line.append(_BARS[min(len(_BARS) - 1, round(value / highest * len(_BARS)))], style)
    return line
