"""Predictions that futures stand for, carried out by one thread."""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import Any

from sire.client.pipeline.pipeline import LOOK_SECONDS, Outcome, Pipeline, PipelinedRequest
from sire.errors import DaemonUnavailable, SireError
from sire.protocol.replies import Reply

# The thread ends when there was nothing to do for so long; the next question starts another.
_IDLE_SECONDS = 5.0


class FuturesPipeline:
    """Asks questions as there is room for them, and fulfils their futures.

    A future is pending until its answer is there, so that it can be cancelled all the while.

    Args:
        connect: opens a pipeline that wakes up by a descriptor.
        decode: makes of an answer what the future gives.
    """

    def __init__(
        self,
        connect: Callable[[int], Pipeline],
        decode: Callable[[Reply, Sequence[memoryview]], Any],
    ) -> None:
        self._connect = connect
        self._decode = decode
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: OrderedDict[Future[Any], PipelinedRequest] = OrderedDict()
        self._under_way: dict[int, Future[Any]] = {}
        self._cancelled: deque[Future[Any]] = deque()
        self._closed = False

    def __del__(self) -> None:
        # The thread holds a reference as long as it lives: nobody reads any more.
        os.close(self._waker)

    def submit(self, question: PipelinedRequest) -> "Future[Any]":
        """Ask as soon as there is room.

        Raises:
            DaemonUnavailable: it was closed.
        """
        future: Future[Any] = Future()
        future.add_done_callback(self._note_if_cancelled)
        with self._lock:
            if self._closed:
                raise DaemonUnavailable("This ModelManager is closed.", hint="Make another one.")
            self._waiting[future] = question
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sire", daemon=True)
                self._thread.start()
        self._wake()
        return future

    def close(self) -> None:
        """Withdraw and cancel whatever has no answer, and end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _wake(self) -> None:
        os.eventfd_write(self._waker, 1)

    def _note_if_cancelled(self, future: "Future[Any]") -> None:
        if future.cancelled():
            self._cancelled.append(future)
            self._wake()

    # In the thread

    def _run(self) -> None:
        while self._anything_to_do():
            try:
                with closing(self._connect(self._waker)) as pipeline:
                    self._serve(pipeline)
            except Exception as problem:
                self._fail(problem)

    def _anything_to_do(self) -> bool:
        with self._lock:
            if self._waiting and not self._closed:
                return True
            self._thread = None
        if self._closed:  # else somebody may be starting another thread by now
            self._cancel_all()
        return False

    def _serve(self, pipeline: Pipeline) -> None:
        """Carry on until the daemon goes away, nothing was to do for a while, or it is closed."""
        idle_since = time.monotonic()
        while not (self._closed or pipeline.gone):
            self._withdraw(pipeline)
            self._send(pipeline)
            if not pipeline.idle:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _IDLE_SECONDS:
                return
            pipeline.pump(LOOK_SECONDS)
            with suppress(BlockingIOError):
                os.eventfd_read(self._waker)
            self._hand_out(pipeline)

    def _withdraw(self, pipeline: Pipeline) -> None:
        while self._cancelled:
            future = self._cancelled.popleft()
            with self._lock:
                waited = self._waiting.pop(future, None) is not None
            number = next((n for n, one in self._under_way.items() if one is future), None)
            if number is not None:
                pipeline.withdraw(number)
                del self._under_way[number]
            if waited or number is not None:
                future.set_running_or_notify_cancel()

    def _send(self, pipeline: Pipeline) -> None:
        while pipeline.room():
            with self._lock:
                if not self._waiting:
                    return
                future, question = self._waiting.popitem(last=False)
            self._under_way[pipeline.send(question)] = future

    def _hand_out(self, pipeline: Pipeline) -> None:
        for number in pipeline.answered():
            outcome, future = pipeline.pop(number), self._under_way.pop(number)
            assert outcome is not None
            self._fulfil(future, outcome)

    def _fulfil(self, future: "Future[Any]", outcome: Outcome) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, SireError):
            future.set_exception(outcome)
            return
        try:
            future.set_result(self._decode(*outcome))
        except SireError as error:
            future.set_exception(error)

    def _unanswered(self) -> "list[Future[Any]]":
        """Forget every future that has no answer; returns them."""
        with self._lock:
            futures = [*self._under_way.values(), *self._waiting]
            self._under_way.clear()
            self._waiting.clear()
        return futures

    def _fail(self, problem: Exception) -> None:
        for future in self._unanswered():
            if future.set_running_or_notify_cancel():
                future.set_exception(problem)

    def _cancel_all(self) -> None:
        for future in self._unanswered():
            future.cancel()
            future.set_running_or_notify_cancel()
