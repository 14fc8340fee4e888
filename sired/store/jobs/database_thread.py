"""The thread that owns the job database, so that the event loop never waits for the disk."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sire.errors import JobsUnavailable, SireError, error_text
from sired.store.jobs.repository import JobRepository
from sired.store.jobs.schema import unavailable

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# Tasks that arrive while the disk is busy are committed in one transaction, with one sync.
MAX_GROUP = 256


class _Task(NamedTuple):
    do: Callable[[JobRepository], Any]
    answer: "asyncio.Future[Any]"


class JobDatabase:
    """Runs tasks on the job repository and returns futures of the event loop.

    Args:
        loop: the event loop of the callers.
        directory: of the database and the spool directory; it is created if necessary.

    Attributes:
        problem: why jobs cannot be stored at the moment; "" if they can.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path) -> None:
        self.problem = ""
        self._loop = loop
        self._directory = directory
        self._repository: JobRepository | None = None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def call(self, do: Callable[[JobRepository], _Result]) -> "asyncio.Future[_Result]":
        """Run a function on the repository; its changes are on disk when the future completes.

        The future raises JobsUnavailable if they cannot be stored; nothing has changed then.
        """
        answer: asyncio.Future[_Result] = self._loop.create_future()
        self._tasks.put(_Task(do, answer))
        return answer

    def close(self) -> None:
        """Run the pending tasks, and close the database."""
        self._tasks.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (group := self._next()) is not None:
            outcomes = self._run_group(group) or [self._run_single(task) for task in group]
            answers = [task.answer for task in group]
            self._loop.call_soon_threadsafe(_deliver, list(zip(answers, outcomes, strict=True)))
        if self._repository is not None:
            self._repository.close()

    def _next(self) -> list[_Task] | None:
        """Wait for tasks; returns the pending ones in order, or None at the end."""
        first = self._tasks.get()
        if first is None:
            return None
        group = [first]
        while len(group) < MAX_GROUP and not self._tasks.empty():
            task = self._tasks.get()
            if task is None:
                self._tasks.put(None)
                break
            group.append(task)
        return group

    def _run_group(self, group: list[_Task]) -> list[Any] | None:
        """Run all tasks in one transaction; None if that fails."""
        try:
            return self._transact(group)
        except Exception:
            self._undo()
            return None

    def _run_single(self, task: _Task) -> Any:
        """Run one task in a transaction of its own, so that one failure does not affect others."""
        try:
            (outcome,) = self._transact([task])
        except (sqlite3.Error, OSError) as problem:
            self._undo()
            self._close_repository()
            error = unavailable(problem, self._directory)
            self._note(error)
            return error
        except JobsUnavailable as error:
            self._note(error)
            return error
        except Exception as problem:
            self._undo()
            log.exception("a job could not be stored because of an unexpected error")
            return SireError(f"Unexpected {type(problem).__name__}: {error_text(problem)}")
        return outcome

    def _transact(self, group: list[_Task]) -> list[Any]:
        if self._repository is None:
            self._repository = JobRepository(self._directory)
        self._repository.begin()
        outcomes = [_outcome(task, self._repository) for task in group]
        self._repository.commit()
        self.problem = ""
        return outcomes

    def _undo(self) -> None:
        if self._repository is not None:
            try:
                self._repository.roll_back()
            except sqlite3.Error:
                self._close_repository()

    def _close_repository(self) -> None:
        """Close a database that fails; the next task opens it again."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    def _note(self, error: SireError) -> None:
        if self.problem != str(error):
            log.error("%s", error)
        self.problem = str(error)


def _outcome(task: _Task, repository: JobRepository) -> Any:
    try:
        return task.do(repository)
    except SireError as error:
        return error


def _deliver(outcomes: "list[tuple[asyncio.Future[Any], Any]]") -> None:
    for answer, outcome in outcomes:
        if answer.done():  # it was cancelled
            continue
        if isinstance(outcome, SireError):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
