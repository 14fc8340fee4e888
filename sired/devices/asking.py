"""Asks a driver that may hang: in threads, and with a limit on the time that a caller waits."""

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

from sired.devices.base import Hardware, Probe, Reading, ReadingFailed

Value = TypeVar("Value")

# NVML takes less than a millisecond for most answers, and some for the list of processes.
ANSWER_SECONDS = 0.1
# A driver that has to initialise GPUs first takes seconds for each of them.
FIND_SECONDS = 10.0
# An earlier answer is used for this long while a later one is outstanding.
FRESH_SECONDS = 3.0


class Question(Generic[Value]):
    """A call that is made again and again, and what it returned last."""

    def __init__(self, call: Callable[[], Value]) -> None:
        self.outstanding = False
        self.done = threading.Event()
        self._call = call
        self._answer: Value | None = None
        self._error: Exception | None = None
        self._answered_at: float | None = None

    def answer(self) -> None:
        """Make the call, in the thread that may hang."""
        self._error = None
        try:
            self._answer = self._call()
        except Exception as error:
            self._error = error  # raised where the answer is used
        self._answered_at = time.monotonic()
        self.outstanding = False
        self.done.set()

    def answered_within(self, seconds: float) -> bool:
        """Whether the last answer is not older than this."""
        at = self._answered_at
        return at is not None and time.monotonic() - at <= seconds

    def latest(self, seconds: float) -> Value | None:
        """The last answer; None if it is older than this. Raises what the call raised."""
        if not self.answered_within(seconds):
            return None
        if self._error is not None:
            raise self._error
        return self._answer


class AskingThread:
    """Puts questions to a driver, one after the other, in a thread of its own.

    Once an answer was late, callers do not wait until one is in time again: a driver that hangs
    costs them ``ANSWER_SECONDS`` once, and one that is always slow gives the answers before last.
    """

    def __init__(self) -> None:
        self._questions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._late = False

    def ask(
        self, question: Question[Value], wait: float = ANSWER_SECONDS, fresh: float = FRESH_SECONDS
    ) -> Value | None:
        """Put a question and return its answer.

        Args:
            question: it is not put again while it is outstanding.
            wait: seconds to wait for the answer.
            fresh: how many seconds old an earlier answer may be that is returned instead.

        Returns:
            The answer; None if there is none, and no earlier one is fresh.
        """
        if not question.outstanding:
            question.outstanding = True
            question.done.clear()
            self._questions.put(question.answer)
            self._start()
        if not self._late:
            self._late = not question.done.wait(wait)
        return question.latest(fresh)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon thread: one that hangs in the driver must not keep the process from exiting.
            self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            answer = self._questions.get()
            began = time.monotonic()
            answer()
            if time.monotonic() - began < ANSWER_SECONDS:
                self._late = False


class _Unit:
    """One physical device: the questions about it, and the thread that puts them."""

    def __init__(self, probe: Probe, hardware: Hardware) -> None:
        self.thread = AskingThread()
        self.free = Question(partial(probe.free, hardware))
        self.reading = Question(partial(probe.read, hardware))
        self.processes = Question(partial(probe.by_process, hardware))


class AskingProbe:
    """Asks another probe without blocking its caller for longer than ``ANSWER_SECONDS``.

    Each device has a thread of its own, so one that hangs does not silence the others.
    """

    def __init__(self, probe: Probe, *, find_seconds: float = FIND_SECONDS) -> None:
        self.kind = probe.kind
        self._probe = probe
        self._wait = find_seconds
        self._limit = find_seconds
        self._thread = AskingThread()
        self._found = Question(probe.find)
        self._returned: list[Hardware] | None = None
        self._units: dict[Hardware, _Unit] = {}

    @property
    def problems(self) -> list[str]:
        """Messages about hardware that ``find`` could not make available."""
        if self._found.answered_within(math.inf):
            return self._probe.problems
        waited = f"The NVIDIA driver did not answer within {self._limit:g} s"
        return [f"{waited}: no GPU is used until it does. See: nvidia-smi"]

    @property
    def incomplete(self) -> bool:
        """Whether ``find`` may find more now than before."""
        return self._probe.incomplete or self._found.latest(math.inf) != self._returned

    def find(self) -> list[Hardware]:
        """All devices of this kind; only the first call waits for the driver."""
        self._returned = self._thread.ask(self._found, self._wait, math.inf)
        self._wait = ANSWER_SECONDS
        return self._returned or []

    def read(self, hardware: Hardware) -> Reading | None:
        """Read one device; None if it does not respond."""
        unit = self._unit(hardware)
        return unit.thread.ask(unit.reading)

    def free(self, hardware: Hardware) -> int | None:
        """Its free bytes; None if it does not respond."""
        unit = self._unit(hardware)
        return unit.thread.ask(unit.free)

    def by_process(self, hardware: Hardware) -> dict[int, int]:
        """Bytes of its memory by process id; empty if the driver does not report it."""
        unit = self._unit(hardware)
        return unit.thread.ask(unit.processes) or {}

    def failure(self, hardware: Hardware) -> ReadingFailed | None:
        """Why its last ``free`` was None."""
        if self._unit(hardware).free.answered_within(FRESH_SECONDS):
            return self._probe.failure(hardware)
        return ReadingFailed("it does not answer", gone=False)

    def _unit(self, hardware: Hardware) -> _Unit:
        if hardware not in self._units:
            self._units[hardware] = _Unit(self._probe, hardware)
        return self._units[hardware]
