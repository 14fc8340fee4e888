"""Writes down once a minute what every model did, and tells it when asked.

The event loop only takes the differences of counts; a thread writes and reads the file. What
cannot be written is said by ``sire health`` and given up: nothing waits for it.
"""

import asyncio
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sired.config.settings import HistorySettings
from sired.daemon.telemetry.counters import AllCounters, ModelCounters
from sired.daemon.telemetry.histogram import Histogram
from sired.store.history import MINUTE, HistoryStore, Minute, is_damage, set_aside

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Recorded:
    """What of a model's counts has been written down."""

    errors: int = 0
    loads: int = 0
    evictions: int = 0
    crashes: int = 0
    latency: Histogram = field(default_factory=Histogram)


class HistoryRecorder:
    """Keeps the history.

    Args:
        loop: the event loop.
        path: the file.
        statistics: what is counted.
        memory: what each loaded model is charged now, in bytes.
        settings: how long it is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        statistics: AllCounters,
        memory: Callable[[], dict[str, int]],
        settings: HistorySettings,
    ) -> None:
        self._loop = loop
        self._path = path
        self._statistics = statistics
        self._memory = memory
        self._settings = settings
        self._told: dict[str, _Recorded] = {}
        self._began = time.time()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._file: HistoryStore | None = None
        self._damage = self._trouble = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the history is lost, or not kept at the moment."""
        return tuple(filter(None, (self._damage, self._trouble)))

    def adopt(self, settings: HistorySettings) -> None:
        """Go by these settings from now on."""
        self._settings = settings

    def start(self) -> None:
        """Write once a minute from now on, when the clock's minute is over."""
        self._timer = self._loop.call_later(MINUTE - time.time() % MINUTE, self._minute_over)

    def _minute_over(self) -> None:
        self.note()
        self.start()

    def close(self) -> None:
        """Write what there is of this minute, and close the file."""
        if self._timer is not None:
            self._timer.cancel()
        self.note()
        self._thread.submit(self._close)
        self._thread.shutdown()

    def note(self) -> None:
        """Have what happened since the last time written down."""
        at, self._began = int(self._began) // MINUTE * MINUTE, time.time()
        # Nothing that is asked of the clock is asked of it later, in the thread.
        keep_from, memory = self._began - self._settings.keep_for, self._memory()
        minutes = [
            minute
            for name, counters in self._statistics.by_model.items()
            for minute in self._news(at, name, counters, memory.get(name, 0))
        ]
        if self._settings.keep_for and minutes:
            self._thread.submit(self._try, lambda file: file.add(minutes, keep_from=keep_from))

    def _news(self, at: int, name: str, counters: ModelCounters, memory: int) -> Iterator[Minute]:
        """What one model did; nothing if it was neither used nor loaded."""
        told = self._told.get(name) or self._told.setdefault(name, _Recorded())
        loads, errors = counters.loads.total(), counters.errors.total()
        answers = counters.latency.count - told.latency.count
        minute = Minute(
            at=at,
            model=name,
            answers=answers,
            errors=errors - told.errors,
            p50=None,
            p99=None,
            # One that came and went within a minute took memory all the same.
            memory=memory or (counters.peak_memory if loads > told.loads or answers else 0),
            loads=loads - told.loads,
            evictions=counters.evictions - told.evictions,
            crashes=counters.crashes - told.crashes,
        )
        told.errors, told.loads = errors, loads
        told.evictions, told.crashes = counters.evictions, counters.crashes
        if answers:
            latency = counters.latency.since(told.latency)
            minute = minute._replace(p50=latency.quantile(0.5), p99=latency.quantile(0.99))
            told.latency = counters.latency.copy()
        if any(minute[2:]):
            yield minute

    async def read(
        self, seconds: float, points: int, model: str | None
    ) -> tuple[int, list[Minute]]:
        """What happened in the last so many seconds, in at most about so many steps.

        Returns:
            How many seconds a step has, and the steps of each model that did anything.

        Raises:
            sqlite3.Error: the file cannot be read.
            OSError: it cannot be made.
        """
        self.note()  # so that what has just happened is told, too
        now = time.time()
        seconds = max(0.0, min(self._settings.keep_for, now, seconds))
        step = max(1, math.ceil(seconds / max(1, points) / MINUTE)) * MINUTE
        found = await self._loop.run_in_executor(
            self._thread, self._with_file, lambda file: file.read(now - seconds, step, model)
        )
        return step, found

    # In the thread

    def _try(self, do: Callable[[HistoryStore], None]) -> None:
        try:
            self._with_file(do)
        except (sqlite3.Error, OSError) as problem:
            backoff = f"The history in {self._path} is not kept: {problem}."
            if backoff != self._trouble:
                log.error("%s", backoff)  # noqa: TRY400
            self._trouble = backoff
        else:
            self._trouble = ""

    def _with_file(self, do: Callable[[HistoryStore], _Result]) -> _Result:
        """Do something with the file; one that is damaged is set aside, and a new one begun."""
        try:
            return do(self._opened())
        except sqlite3.Error as problem:
            self._close()
            if not is_damage(problem):
                raise
            aside = set_aside(self._path)
            self._damage = f"The history was damaged ({problem}): it is begun anew, beside {aside}."
            log.error("%s", self._damage)  # noqa: TRY400
        return do(self._opened())

    def _opened(self) -> HistoryStore:
        if self._file is None:
            self._file = HistoryStore(self._path)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
