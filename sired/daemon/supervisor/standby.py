"""Standby workers: processes that are ready on a device before there is a model for them.

1. Each device has as many as its setting ``standby`` specifies. Their memory is not part of the
   device's capacity. It is reserved for them, so that they exist when memory is short and models
   come and go, which is when they save most. The brain therefore need not know of them: a load is
   charged in full, whichever process it gets.
2. A load takes over a standby worker if there is one. Another one is started when that load is
   complete, so that the two do not slow each other down.
3. One that ends by itself is replaced after a pause, so that a worker that cannot start is not
   retried in a loop.
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

RETRY_SECONDS = 10.0


@dataclass(slots=True)
class _DeviceStandby:
    """The standby workers of one device; ``starting`` more are being started."""

    device: DeviceGrant
    wanted: int
    ready: list[WorkerProcess] = field(default_factory=list)
    starting: int = 0


class Standby:
    """All standby workers.

    Args:
        loop: the event loop to watch them in.
        zygote: where they are forked from.
        starters: the threads they are started in, because starting blocks.
        wanted: how many each device is to have.
        log_path: the file their output goes to until they have a model.
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
        self._devices = {
            device.name: _DeviceStandby(device, count) for device, count in wanted.items()
        }
        self._closed = False

    def count(self, device: str) -> int:
        """The number of standby workers that are ready on a device."""
        return len(self._devices[device].ready) if device in self._devices else 0

    def add(self, device: DeviceGrant, wanted: int) -> None:
        """Have standby workers on a device that was not there before, from the next ``fill`` on."""
        self._devices[device.name] = _DeviceStandby(device, wanted)

    def take(self, device: str) -> WorkerProcess | None:
        """Take the oldest standby worker of a device, to give it a model; None without one."""
        standby = self._devices.get(device)
        if standby is None or not standby.ready:
            return None
        worker = standby.ready.pop(0)
        self._loop.remove_reader(worker.pidfd)
        return worker

    @property
    def workers(self) -> list[WorkerProcess]:
        """The standby workers that are ready, on any device."""
        return [worker for standby in self._devices.values() for worker in standby.ready]

    def fill(self) -> None:
        """Start the workers that are missing."""
        for standby in self._devices.values():
            while not self._closed and len(standby.ready) + standby.starting < standby.wanted:
                standby.starting += 1
                starting = self._loop.run_in_executor(
                    self._starters,
                    start_worker,
                    self._zygote,
                    StandBy(standby.device),
                    self._log_path,
                )
                starting.add_done_callback(partial(self._started, standby))

    def _started(self, standby: _DeviceStandby, done: "asyncio.Future[WorkerProcess]") -> None:
        standby.starting -= 1
        if done.cancelled():
            return
        if problem := done.exception():
            log.error("a standby worker could not be started: %s", problem)
            self._loop.call_later(RETRY_SECONDS, self.fill)
            return
        worker = done.result()
        if self._closed:
            worker.kill()
            return
        standby.ready.append(worker)
        self._loop.add_reader(worker.pidfd, self._ended, standby, worker)

    def _ended(self, standby: _DeviceStandby, worker: WorkerProcess) -> None:
        self._loop.remove_reader(worker.pidfd)
        standby.ready.remove(worker)
        output = " ".join(worker.last_lines(3))
        log.error("a standby worker ended (%s) %s", worker.exit_status(), output)
        worker.close()
        self._loop.call_later(RETRY_SECONDS, self.fill)

    def close(self) -> None:
        """Kill all standby workers, and start no more."""
        self._closed = True
        for standby in self._devices.values():
            for worker in standby.ready:
                self._loop.remove_reader(worker.pidfd)
                worker.kill()
            standby.ready.clear()
