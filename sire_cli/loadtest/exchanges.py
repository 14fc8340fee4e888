"""What is said between client and daemon for one request of a load.

An exchange is a generator: it yields a message to send, is sent the daemon's reply to it, and
returns when it has what it asked for. It never sees a failure, which ends it.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from sire.errors import ProtocolError
from sire.protocol.replies import JobEnds, Prediction, Reply, Submitted
from sire.protocol.requests import JobInput, JobResult, Predict, Request, Submit, WaitJobs
from sire_cli.loadtest.plan import LoadInput, LoadPlan

_Kind = TypeVar("_Kind")

Exchange = Generator[tuple[Request, tuple[bytes, ...]], Reply, None]

# So that who finds jobs of a load can tell where they come from.
_METADATA = {"submitter": "sire bench"}


def prediction(plan: LoadPlan, model: str, given: LoadInput) -> Exchange:
    """Ask for a prediction."""
    request = Predict(
        model=model, content_type=given.content_type, accept=plan.accept, timeout=plan.timeout
    )
    _checked(Prediction, (yield request, (given.content,)))


def job(
    plan: LoadPlan, model: str, given: LoadInput, accepted: Callable[[str], object]
) -> Exchange:
    """Submit a job and, if results are wanted, wait for it and ask for its result."""
    request = Submit(
        model=model,
        inputs=(JobInput(given.content_type, source=given.name),),
        accept=plan.accept,
        metadata=_METADATA,
        timeout=plan.timeout,
    )
    submitted = _checked(Submitted, (yield request, (given.content,)))
    accepted(submitted.jobs[0])
    if not plan.results:
        return
    while not _checked(JobEnds, (yield WaitJobs(jobs=submitted.jobs), ())).ended:
        pass
    _checked(Prediction, (yield JobResult(job=submitted.jobs[0]), ()))


def _checked(kind: type[_Kind], reply: Reply) -> _Kind:
    if not isinstance(reply, kind):
        raise ProtocolError(
            f"The daemon answered with {type(reply).__name__}, not with {kind.__name__}.",
            hint="Are sire and sired of the same version? Try: sire daemon restart",
        )
    return reply
