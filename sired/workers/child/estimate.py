"""Checks a model's arguments and estimates its size, without loading it."""

import logging

from sire.errors import InvalidModel, SireError
from sire.spec import ModelSpec
from sired.runtimes.discovery import find_runtime
from sired.workers.child.load_arguments import load_arguments
from sired.workers.messages import Estimated

log = logging.getLogger("sired.worker")


def estimate(spec: ModelSpec) -> Estimated:
    """The size of a model's weights as its own code reports it, or why it does not."""
    try:
        return _estimate(spec)
    except SireError as problem:
        return Estimated(None, problem.message, problem.hint)
    except BaseException as problem:
        log.warning("%s cannot be estimated", spec.name, exc_info=problem)
        return Estimated(None, f"{type(problem).__name__}: {problem}")


def _estimate(spec: ModelSpec) -> Estimated:
    runtime, arguments = find_runtime(spec.runtime), load_arguments(spec, "cpu")
    if runtime.traits.passes_to_class(spec):
        try:
            runtime.check_arguments(spec.path, **arguments)
        except InvalidModel as problem:
            return Estimated(None, problem.message, problem.hint, invalid=True)
    if spec.max_memory is not None or not runtime.traits.may_estimate(spec):
        return Estimated(None)
    reported = runtime.estimate(spec.path, **arguments)
    return Estimated(reported if reported and reported > 0 else None)
