"""Records once a minute what each model did, and reads that history for clients.

The event loop only computes differences of counters; a thread writes and reads the file. A failure
to write is reported by ``sire health`` and the data is dropped: nothing waits for it.
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
    """The values of a model's counters when they were last recorded."""

    errors: int = 0
    loads: int = 0
    evictions: int = 0
    crashes: int = 0
    latency: Histogram = field(default_factory=Histogram)


class HistoryRecorder:
    """Keeps the history of all models.

    Args:
        loop: the event loop.
        path: the path of the file.
        counters: the counters of all models.
        memory: returns the bytes that each loaded model is charged now.
        settings: how long the history is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        counters: AllCounters,
        memory: Callable[[], dict[str, int]],
        settings: HistorySettings,
    ) -> None:
        self._loop = loop
        self._path = path
        self._counters = counters
        self._memory = memory
        self._settings = settings
        self._recorded: dict[str, _Recorded] = {}
        self._began = time.time()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._file: HistoryStore | None = None
        self._damage = self._failure = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Messages: that history was lost, or cannot be written at the moment."""
        return tuple(filter(None, (self._damage, self._failure)))

    def adopt(self, settings: HistorySettings) -> None:
        """Apply new settings."""
        self._settings = settings

    def start(self) -> None:
        """Record once a minute from now on, at the end of each minute of the system clock."""
        self._timer = self._loop.call_later(MINUTE - time.time() % MINUTE, self._minute_over)

    def _minute_over(self) -> None:
        self.record()
        self.start()

    def close(self) -> None:
        """Record the current minute so far, and close the file."""
        if self._timer is not None:
            self._timer.cancel()
        self.record()
        self._thread.submit(self._close)
        self._thread.shutdown()

    def record(self) -> None:
        """Record what happened since the last call."""
        at, self._began = int(self._began) // MINUTE * MINUTE, time.time()
        # The clock is read here and not later in the thread.
        keep_from, memory = self._began - self._settings.keep_for, self._memory()
        minutes = [
            minute
            for name, counters in self._counters.by_model.items()
            for minute in self._minute(at, name, counters, memory.get(name, 0))
        ]
        if self._settings.keep_for and minutes:
            self._thread.submit(self._run, lambda file: file.add(minutes, keep_from=keep_from))

    def _minute(self, at: int, name: str, counters: ModelCounters, memory: int) -> Iterator[Minute]:
        """What one model did since the last record; nothing if it was neither used nor loaded."""
        recorded = self._recorded.get(name) or self._recorded.setdefault(name, _Recorded())
        loads, errors = counters.loads.total(), counters.errors.total()
        answers = counters.latency.count - recorded.latency.count
        minute = Minute(
            at=at,
            model=name,
            answers=answers,
            errors=errors - recorded.errors,
            p50=None,
            p99=None,
            # A model that was loaded and unloaded within the minute took memory, too.
            memory=memory or (counters.peak_memory if loads > recorded.loads or answers else 0),
            loads=loads - recorded.loads,
            evictions=counters.evictions - recorded.evictions,
            crashes=counters.crashes - recorded.crashes,
        )
        recorded.errors, recorded.loads = errors, loads
        recorded.evictions, recorded.crashes = counters.evictions, counters.crashes
        if answers:
            latency = counters.latency.since(recorded.latency)
            minute = minute._replace(p50=latency.quantile(0.5), p99=latency.quantile(0.99))
            recorded.latency = counters.latency.copy()
        if any(minute[2:]):
            yield minute

    async def read(
        self, seconds: float, points: int, model: str | None
    ) -> tuple[int, list[Minute]]:
        """Read the history of the last ``seconds``, in at most about ``points`` steps.

        Args:
            seconds: how far back to read.
            points: the number of steps.
            model: the model; None for all.

        Returns:
            The length of a step in seconds, and the steps of each model that did anything.

        Raises:
            sqlite3.Error: the file cannot be read.
            OSError: the file cannot be created.
        """
        self.record()  # so that the reply includes the current minute
        now = time.time()
        seconds = max(0.0, min(self._settings.keep_for, now, seconds))
        step = max(1, math.ceil(seconds / max(1, points) / MINUTE)) * MINUTE
        found = await self._loop.run_in_executor(
            self._thread, self._with_file, lambda file: file.read(now - seconds, step, model)
        )
        return step, found

    # In the thread

    def _run(self, do: Callable[[HistoryStore], None]) -> None:
        try:
            self._with_file(do)
        except (sqlite3.Error, OSError) as problem:
            failure = f"The history in {self._path} cannot be written: {problem}."
            if failure != self._failure:
                log.error("%s", failure)  # noqa: TRY400
            self._failure = failure
        else:
            self._failure = ""

    def _with_file(self, do: Callable[[HistoryStore], _Result]) -> _Result:
        """Run a function on the file; a damaged file is moved aside and a new one started."""
        try:
            return do(self._opened())
        except sqlite3.Error as problem:
            self._close()
            if not is_damage(problem):
                raise
            aside = set_aside(self._path)
            self._damage = (
                f"The history was damaged ({problem}). The old file is now {aside}; "
                "a new history has been started."
            )
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
