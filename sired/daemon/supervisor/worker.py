"""One worker, as its supervisor sees it."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from sire.errors import SireError, WorkerCrashed
from sire.protocol.content import Buffer
from sire.protocol.runs import RunModel
from sired.workers.messages import ChangeTier, Ping, RunBatch, StopRun
from sired.workers.process import WorkerProcess

# How long a worker may take to exit after its channel was closed, before it is killed.
EXIT_GRACE_SECONDS = 2.0
# The same on a GPU, where tens of gigabytes are freed and unpinned; and for a worker whose model is
# held out of process, by a program that may have to clean up or by a server. That one is never
# killed at once, because the program or the model would stay.
SLOW_EXIT_GRACE_SECONDS = 10.0

ToWorker = RunModel | RunBatch | ChangeTier | StopRun | Ping


@dataclass(slots=True)
class Worker:
    """One worker.

    Attributes:
        model: the name of its model.
        out_of_process: whether another process holds the model.
        on_gpu: whether it is placed on a GPU.
        process: None until it has been started.
        ending: whether its end was requested; ``kill`` whether by killing it.
        unreadable: why a message from it could not be read.
        unsent: messages that wait until its channel is writable.
        pings: the callers that wait for a Pong.
    """

    model: str
    out_of_process: bool
    on_gpu: bool = False
    process: WorkerProcess | None = None
    ending: bool = False
    unreadable: SireError | None = None
    kill: bool = False
    unsent: deque[tuple[ToWorker, tuple[Buffer, ...]]] = field(default_factory=deque)
    pings: "list[asyncio.Future[None]]" = field(default_factory=list)

    @property
    def exit_grace(self) -> float:
        """Seconds that it may take to exit before it is killed."""
        slow = self.out_of_process or self.on_gpu
        return SLOW_EXIT_GRACE_SECONDS if slow else EXIT_GRACE_SECONDS

    def answer_pings(self, error: SireError | None = None) -> None:
        """Report to the callers of ``ping`` that the Pong has arrived, or why it never will."""
        while self.pings:
            ping = self.pings.pop()
            if ping.done():  # the caller has stopped waiting
                continue
            if error is None:
                ping.set_result(None)
            else:
                ping.set_exception(error)

    def how_it_ended(self) -> WorkerCrashed:
        """The error of a worker whose process has ended, with what it printed last."""
        process = self.process
        assert process is not None
        if (problem := self.unreadable) is not None:
            return WorkerCrashed(
                f"A message from the process of {self.model} could not be read, so the process "
                f"was killed: {problem.message}",
                hint=problem.hint,
                model=self.model,
                pid=process.pid,
            )
        lines = process.last_lines()
        output = "".join(f"\n  {line}" for line in lines) if lines else " It printed nothing."
        return WorkerCrashed(
            f"The process of {self.model} ended ({process.exit_status()}).{output}",
            hint=f"See: sire logs {self.model}",
            model=self.model,
            pid=process.pid,
            last_lines=lines,
        )
