"""Outcomes of many predictions, in the order in which they were asked for."""

from collections import deque
from collections.abc import Iterator

from sire.client.pipeline.pipeline import LOOK_SECONDS, Outcome, Pipeline, PipelinedRequest
from sire.errors import SireError


def outcomes_in_order(
    pipeline: Pipeline, questions: Iterator[PipelinedRequest | SireError]
) -> Iterator[Outcome]:
    """Ask while there is room, and give each outcome as soon as those before it were given.

    Args:
        pipeline: to ask by; whoever opened it closes it.
        questions: what to ask; an error is an outcome already. What it raises is raised here, in
            its turn: after the outcomes of the questions before.
    """
    order: deque[int] = deque()
    ended = False
    problem: Exception | None = None
    while True:
        pipeline.pump()
        if order and (outcome := pipeline.pop(order[0])) is not None:
            order.popleft()
            yield outcome
        elif not ended and pipeline.room():
            try:
                order.append(_ask(pipeline, next(questions)))
            except StopIteration:
                ended = True
            except Exception as failure:
                ended, problem = True, failure
        elif order:
            pipeline.pump(LOOK_SECONDS)
        elif problem is not None:
            raise problem
        elif ended:
            return


def _ask(pipeline: Pipeline, question: PipelinedRequest | SireError) -> int:
    return pipeline.fail(question) if isinstance(question, SireError) else pipeline.send(question)
