"""Outcomes of many predictions, in the order of their requests."""

from collections import deque
from collections.abc import Iterator

from sire.client.pipeline.base import POLL_SECONDS, Outcome, PipelinedRequest, RequestPipeline
from sire.errors import SireError


def outcomes_in_order(
    pipeline: RequestPipeline, requests: Iterator[PipelinedRequest | SireError]
) -> Iterator[Outcome]:
    """Send requests while there is room, and yield outcomes in order.

    Args:
        pipeline: to send by; the caller closes it.
        requests: the requests; an error is an outcome already. An exception from the iterator is
            raised after the outcomes of the requests before it.
    """
    order: deque[int] = deque()
    ended = False
    problem: Exception | None = None
    while True:
        pipeline.pump()
        if order and (outcome := pipeline.pop(order[0])) is not None:
            order.popleft()
            yield outcome
        elif not ended and pipeline.has_room():
            try:
                order.append(_send(pipeline, next(requests)))
            except StopIteration:
                ended = True
            except Exception as failure:
                ended, problem = True, failure
        elif order:
            pipeline.pump(POLL_SECONDS)
        elif problem is not None:
            raise problem
        elif ended:
            return


def _send(pipeline: RequestPipeline, request: PipelinedRequest | SireError) -> int:
    return pipeline.fail(request) if isinstance(request, SireError) else pipeline.send(request)
