"""Exceptions of models, runtimes and codecs as the messages that the daemon gets."""

import logging

from sire.errors import InsufficientMemory, SireError
from sire.protocol.runs import WorkerError
from sire.units import format_bytes
from sired.runtimes.out_of_memory import is_impossible, is_out_of_memory, requested_bytes

log = logging.getLogger("sired.worker")


def error_message(
    problem: BaseException,
    request: int | None,
    kind: type[SireError],
    model: str,
    peak: int = 0,
) -> WorkerError:
    """An exception as a message; the traceback of errors of the model's code is logged."""
    if isinstance(problem, SireError):
        return WorkerError(request, problem.code, problem.message, problem.hint, problem.details)
    log.error("%s", kind.__name__, exc_info=problem)
    text = " ".join(f"{type(problem).__name__}: {problem}".split())
    if is_out_of_memory(problem):
        impossible, requested = is_impossible(problem), requested_bytes(problem)
        larger = f"{format_bytes(requested)} are more than there can ever be: nothing gives way."
        return WorkerError(
            request,
            InsufficientMemory.code,
            f"{model} ran out of memory: {text}",
            hint=f"{larger} Is the input too large?" if impossible and request is not None else "",
            out_of_memory=not impossible,
            peak_memory_bytes=peak,
            requested_bytes=requested,
        )
    hint = f"See the traceback: sire logs {model}"
    return WorkerError(request, kind.code, f"{model}: {text}", hint, peak_memory_bytes=peak)
