"""Predictions submitted as futures, run by one background thread."""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from typing import Any

from sire.client.pipeline.base import POLL_SECONDS, Outcome, PipelinedRequest, RequestPipeline
from sire.errors import DaemonUnavailable, SireError
from sire.protocol.replies import Reply

# The thread ends after this long without work; the next request starts another.
_IDLE_SECONDS = 5.0


class FuturesPipeline:
    """Sends requests as the pipeline has room, and resolves their futures.

    A future stays pending until its answer arrives, so that it can be cancelled at any time.

    Args:
        connect: opens a pipeline that a descriptor can interrupt; the second argument is how many
            seconds a daemon that is stopped is waited for.
        decode: converts an answer to the result of the future.
    """

    def __init__(
        self,
        connect: Callable[[int, float | None], RequestPipeline],
        decode: Callable[[Reply, Sequence[memoryview]], Any],
    ) -> None:
        self._connect = connect
        self._decode = decode
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: OrderedDict[Future[Any], PipelinedRequest] = OrderedDict()
        self._in_flight: dict[int, Future[Any]] = {}
        self._cancelled: deque[Future[Any]] = deque()
        self._closed = False

    def __del__(self) -> None:
        # The thread holds a reference while it runs, so that it no longer reads this.
        os.close(self._waker)

    def submit(self, request: PipelinedRequest) -> "Future[Any]":
        """Send a request as soon as the pipeline has room.

        Raises:
            DaemonUnavailable: this object is closed.
        """
        future: Future[Any] = Future()
        future.add_done_callback(self._on_done)
        with self._lock:
            if self._closed:
                raise DaemonUnavailable("This ModelManager is closed.", hint="Create another one.")
            self._waiting[future] = request
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sire", daemon=True)
                self._thread.start()
        self._wake()
        return future

    def close(self) -> None:
        """Cancel requests without an answer, and end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _wake(self) -> None:
        os.eventfd_write(self._waker, 1)

    def _on_done(self, future: "Future[Any]") -> None:
        if future.cancelled():
            self._cancelled.append(future)
            self._wake()

    # The following run in the thread.

    def _run(self) -> None:
        while self._has_work():
            try:
                with closing(self._connect(self._waker, self._patience())) as pipeline:
                    self._serve(pipeline)
            except Exception as problem:
                self._fail(problem)

    def _has_work(self) -> bool:
        with self._lock:
            if self._waiting and not self._closed:
                return True
            self._thread = None
        if self._closed:  # otherwise another thread may be starting
            self._cancel_all()
        return False

    def _patience(self) -> float | None:
        """The shortest timeout of the requests that wait, in seconds; None if none has any."""
        with self._lock:
            timeouts = [waiting.request.timeout for waiting in self._waiting.values()]
        return min((seconds for seconds in timeouts if seconds is not None), default=None)

    def _serve(self, pipeline: RequestPipeline) -> None:
        """Run until the daemon goes away, no work arrives for a while, or ``close`` is called."""
        idle_since = time.monotonic()
        while not (self._closed or pipeline.disconnected):
            self._cancel(pipeline)
            self._send(pipeline)
            if not pipeline.idle:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _IDLE_SECONDS:
                return
            pipeline.pump(POLL_SECONDS)
            with suppress(BlockingIOError):
                os.eventfd_read(self._waker)
            self._deliver(pipeline)

    def _cancel(self, pipeline: RequestPipeline) -> None:
        while self._cancelled:
            future = self._cancelled.popleft()
            with self._lock:
                waited = self._waiting.pop(future, None) is not None
            number = next((n for n, one in self._in_flight.items() if one is future), None)
            if number is not None:
                pipeline.cancel(number)
                del self._in_flight[number]
            if waited or number is not None:
                future.set_running_or_notify_cancel()

    def _send(self, pipeline: RequestPipeline) -> None:
        while pipeline.has_room():
            with self._lock:
                if not self._waiting:
                    return
                future, request = self._waiting.popitem(last=False)
            self._in_flight[pipeline.send(request)] = future

    def _deliver(self, pipeline: RequestPipeline) -> None:
        for number in pipeline.answered():
            outcome, future = pipeline.pop(number), self._in_flight.pop(number)
            assert outcome is not None
            self._resolve(future, outcome)

    def _resolve(self, future: "Future[Any]", outcome: Outcome) -> None:
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
        """Remove and return every future that has no answer."""
        with self._lock:
            futures = [*self._in_flight.values(), *self._waiting]
            self._in_flight.clear()
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
