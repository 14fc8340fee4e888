"""A worker for a single task. The brain does not know of it: it serves no requests."""

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

Expected = TypeVar("Expected")


@contextmanager
def one_shot(
    zygote: Zygote, first: LoadModel | EstimateModel, log: Path
) -> Iterator[WorkerProcess]:
    """A new worker, which is killed when the block ends. Blocks: call it in a thread.

    Args:
        zygote: where the worker is forked from.
        first: the message it starts with.
        log: the file its output goes to.

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


def expect(worker: WorkerProcess, kind: type[Expected], until: float) -> Expected:
    """Wait for a message of one kind from a worker, and skip others.

    Args:
        worker: the worker.
        kind: the type of the message.
        until: when to give up, on the monotonic clock.

    Raises:
        WorkerCrashed: the worker ended, or did not send the message in time.
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
    output = " ".join(worker.last_lines(3))
    raise WorkerCrashed(f"a new worker does not respond. {output}", hint="See: sire daemon logs")
