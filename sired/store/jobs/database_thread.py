"""The one thread that owns the database; the event loop never waits for a disk."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sire.errors import JobsUnavailable, SireError
from sired.store.jobs.repository import JobRepository
from sired.store.jobs.schema import unavailable

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# What came in while the disk was busy is committed together: one sync for many.
TOGETHER = 256


class _OneShot(NamedTuple):
    do: Callable[[JobRepository], Any]
    answer: "asyncio.Future[Any]"


class JobDatabase:
    """Takes errands to the jobs on disk and answers with futures of the event loop.

    Args:
        loop: the event loop that asks.
        directory: where the database and the spool directory are; it is made if need be.

    Attributes:
        problem: why jobs cannot be kept at the moment; "" while all is well.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path) -> None:
        self.problem = ""
        self._loop = loop
        self._directory = directory
        self._repository: JobRepository | None = None
        self._errands: queue.SimpleQueue[_OneShot | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def call(self, do: Callable[[JobRepository], _Result]) -> "asyncio.Future[_Result]":
        """Have something done to the jobs; when the future has its result, it is on disk.

        The future raises JobsUnavailable when it could not be done; nothing has changed then.
        """
        answer: asyncio.Future[_Result] = self._loop.create_future()
        self._errands.put(_OneShot(do, answer))
        return answer

    def close(self) -> None:
        """Do what is asked for already, and close the database."""
        self._errands.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (group := self._next()) is not None:
            outcomes = self._together(group) or [self._alone(errand) for errand in group]
            answers = [errand.answer for errand in group]
            self._loop.call_soon_threadsafe(_deliver, list(zip(answers, outcomes, strict=True)))
        if self._repository is not None:
            self._repository.close()

    def _next(self) -> list[_OneShot] | None:
        """What waits, in order, once there is something; None at the end."""
        first = self._errands.get()
        if first is None:
            return None
        group = [first]
        while len(group) < TOGETHER and not self._errands.empty():
            errand = self._errands.get()
            if errand is None:
                self._errands.put(None)
                break
            group.append(errand)
        return group

    def _together(self, group: list[_OneShot]) -> list[Any] | None:
        """Do everything in one transaction; None when something is in the way."""
        try:
            return self._transact(group)
        except Exception:
            self._undo()
            return None

    def _alone(self, errand: _OneShot) -> Any:
        """Do one errand by itself, so that only those fail that must."""
        try:
            (outcome,) = self._transact([errand])
        except (sqlite3.Error, OSError) as problem:
            self._undo()
            self._give_up()
            error = unavailable(problem, self._directory)
            self._note(error)
            return error
        except JobsUnavailable as error:
            self._note(error)
            return error
        except Exception as problem:
            self._undo()
            log.exception("a job could not be kept for an unexpected reason")
            return SireError(f"Unexpected {type(problem).__name__}: {problem}")
        return outcome

    def _transact(self, group: list[_OneShot]) -> list[Any]:
        if self._repository is None:
            self._repository = JobRepository(self._directory)
        self._repository.begin()
        outcomes = [_outcome(errand, self._repository) for errand in group]
        self._repository.commit()
        self.problem = ""
        return outcomes

    def _undo(self) -> None:
        if self._repository is not None:
            try:
                self._repository.roll_back()
            except sqlite3.Error:
                self._give_up()

    def _give_up(self) -> None:
        """Close a database that fails; the next errand opens it anew, mended or replaced."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    def _note(self, error: SireError) -> None:
        if self.problem != str(error):
            log.error("%s", error)
        self.problem = str(error)


def _outcome(errand: _OneShot, repository: JobRepository) -> Any:
    try:
        return errand.do(repository)
    except SireError as error:
        return error


def _deliver(outcomes: "list[tuple[asyncio.Future[Any], Any]]") -> None:
    for answer, outcome in outcomes:
        if answer.done():  # nobody waits for it any more
            continue
        if isinstance(outcome, SireError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
