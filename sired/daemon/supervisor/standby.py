"""Workers that are ready on a device before there is a model for them.

1. Each device has as many as its setting ``standby`` says. Their memory is no part of the device's
   capacity: it is kept for them, so that they are there when memory is short and models come and
   go, which is when they save most. So the brain need not know of them: a load is charged in full,
   whichever process it gets.
2. A load takes one over where there is one. Another is started when that load is done, so that the
   two do not get in each other's way.
3. One that ends by itself is replaced after a while, so that what cannot start is not tried on and
   on.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sired.workers.messages import DeviceGrant, StandBy
from sired.workers.process import WorkerProcess, start_worker
from sired.workers.zygote.zygote import Zygote

log = logging.getLogger(__name__)

AGAIN_AFTER_SECONDS = 10.0


@dataclass(slots=True)
class _Post:
    """The workers standing by on one device; ``starting`` of them are on their way."""

    device: DeviceGrant
    wanted: int
    there: list[WorkerProcess] = field(default_factory=list)
    starting: int = 0


class Standby:
    """All workers that stand by.

    Args:
        loop: the event loop to watch them in.
        zygote: where they are forked from.
        starters: the threads to start them in, which blocks.
        wanted: each device, and how many are to stand by there.
        log_path: where they print until they have a model.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        zygote: Zygote,
        starters: Executor,
        wanted: Mapping[DeviceGrant, int],
        log_path: Path,
    ) -> None:
        self._loop = loop
        self._zygote = zygote
        self._starters = starters
        self._log_path = log_path
        self._posts = {device.name: _Post(device, count) for device, count in wanted.items()}
        self._closed = False

    def count(self, device: str) -> int:
        """How many stand by on a device now."""
        return len(self._posts[device].there) if device in self._posts else 0

    def take(self, device: str) -> WorkerProcess | None:
        """The worker that has stood by longest, to be given a model; None when there is none."""
        post = self._posts.get(device)
        if post is None or not post.there:
            return None
        worker = post.there.pop(0)
        self._loop.remove_reader(worker.pidfd)
        return worker

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those that stand by now."""
        return [worker for post in self._posts.values() for worker in post.there]

    def fill(self) -> None:
        """Start as many as are missing."""
        for post in self._posts.values():
            while not self._closed and len(post.there) + post.starting < post.wanted:
                post.starting += 1
                starting = self._loop.run_in_executor(
                    self._starters,
                    start_worker,
                    self._zygote,
                    StandBy(post.device),
                    self._log_path,
                )
                starting.add_done_callback(partial(self._started, post))

    def _started(self, post: _Post, done: "asyncio.Future[WorkerProcess]") -> None:
        post.starting -= 1
        if done.cancelled():
            return
        if problem := done.exception():
            log.error("no worker could be started to stand by: %s", problem)
            self._loop.call_later(AGAIN_AFTER_SECONDS, self.fill)
            return
        worker = done.result()
        if self._closed:
            worker.kill()
            return
        post.there.append(worker)
        self._loop.add_reader(worker.pidfd, self._ended, post, worker)

    def _ended(self, post: _Post, worker: WorkerProcess) -> None:
        self._loop.remove_reader(worker.pidfd)
        post.there.remove(worker)
        said = " ".join(worker.last_lines(3))
        log.error("a worker standing by ended (%s) %s", worker.exit_status(), said)
        worker.close()
        self._loop.call_later(AGAIN_AFTER_SECONDS, self.fill)

    def close(self) -> None:
        """End them all, and start no more."""
        self._closed = True
        for post in self._posts.values():
            for worker in post.there:
                self._loop.remove_reader(worker.pidfd)
                worker.kill()
            post.there.clear()
