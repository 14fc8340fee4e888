"""The messages between client and daemon for one request of a load test.

An exchange is a generator: it yields a message to send, receives the reply to it through ``send``,
and returns when it is complete. A failure ends it from outside.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from sire.errors import ProtocolError
from sire.protocol.jobs import JobEnds, JobInput, JobResult, Submit, Submitted, WaitJobs
from sire.protocol.replies import Prediction, Reply
from sire.protocol.requests import Predict, Request
from sire_cli.loadtest.plan import LoadInput, LoadPlan

_Kind = TypeVar("_Kind")

Exchange = Generator[tuple[Request, tuple[bytes, ...]], Reply, None]

# Marks the jobs of a load test for people who find them.
_METADATA = {"submitter": "sire bench"}


def prediction(plan: LoadPlan, model: str, load_input: LoadInput) -> Exchange:
    """Request one prediction."""
    request = Predict(
        model=model, content_type=load_input.content_type, accept=plan.accept, timeout=plan.timeout
    )
    _checked(Prediction, (yield request, load_input.frames))


def job(
    plan: LoadPlan, model: str, load_input: LoadInput, on_accepted: Callable[[str], object]
) -> Exchange:
    """Submit a job; unless results are discarded, wait for it and fetch its result."""
    request = Submit(
        model=model,
        inputs=(
            JobInput(
                load_input.content_type, frames=len(load_input.frames), source=load_input.name
            ),
        ),
        accept=plan.accept,
        metadata=_METADATA,
        timeout=plan.timeout,
    )
    submitted = _checked(Submitted, (yield request, load_input.frames))
    on_accepted(submitted.jobs[0])
    if not plan.results:
        return
    while not _checked(JobEnds, (yield WaitJobs(jobs=submitted.jobs), ())).ended:
        pass
    _checked(Prediction, (yield JobResult(job=submitted.jobs[0]), ()))


def _checked(kind: type[_Kind], reply: Reply) -> _Kind:
    if not isinstance(reply, kind):
        raise ProtocolError(
            f"The daemon replied with {type(reply).__name__} instead of {kind.__name__}.",
            hint="sire and sired may have different versions. Run: sire daemon restart",
        )
    return reply
