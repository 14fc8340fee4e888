"""A worker for one errand, which the brain knows nothing of: it holds no model for anybody."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sire.errors import LoadFailed, WorkerCrashed
from sired.workers.messages import EstimateModel, LoadModel
from sired.workers.process import WorkerProcess, start_worker
from sired.workers.zygote.zygote import Zygote

Said = TypeVar("Said")


@contextmanager
def one_shot(
    zygote: Zygote, first: LoadModel | EstimateModel, log: Path
) -> Iterator[WorkerProcess]:
    """A fresh worker, which is gone when the block ends. Blocks: call it in a thread.

    Raises:
        LoadFailed: no process could be started.
    """
    try:
        worker = start_worker(zygote, first, log)
    except OSError as problem:
        raise LoadFailed(f"no process could be started: {problem.strerror}.") from None
    try:
        yield worker
    finally:
        worker.kill()
        select.select([worker.pidfd], [], [])
        worker.close()


def expect(worker: WorkerProcess, kind: type[Said], until: float) -> Said:
    """Wait until a worker says what is expected of it, ``until`` at most (by the monotonic clock).

    Raises:
        WorkerCrashed: it ended, or does not answer.
    """
    poller = select.poll()
    poller.register(worker.channel.fileno(), select.POLLIN)
    while poller.poll(max(0.0, until - time.monotonic()) * 1000):
        try:
            received = worker.channel.try_receive()
        except EOFError:
            break
        if received is not None and isinstance(received[0], kind):
            return received[0]
    said = " ".join(worker.last_lines(3))
    raise WorkerCrashed(f"a fresh worker does not answer. {said}", hint="See: sire daemon logs")
