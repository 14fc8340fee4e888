"""Checks a model and estimates its size, without loading it."""

import logging

from sire.errors import InvalidModel, SireError, UntrustedModel
from sire.spec import ModelSpec
from sired.runtimes.discovery import find_runtime
from sired.workers.child.load_arguments import load_arguments
from sired.workers.messages import Estimated

log = logging.getLogger("sired.worker")


def estimate(spec: ModelSpec) -> Estimated:
    """What a model's own code reports about it, or why it does not."""
    try:
        return _estimate(spec)
    except SireError as problem:
        return Estimated(None, problem.message, problem.hint)
    except BaseException as problem:
        log.warning("%s cannot be estimated", spec.name, exc_info=problem)
        return Estimated(None, f"{type(problem).__name__}: {problem}")


def _estimate(spec: ModelSpec) -> Estimated:
    runtime, arguments = find_runtime(spec.runtime), load_arguments(spec, "cpu")
    notes: tuple[str, ...] = ()
    try:
        if runtime.traits.passes_to_class(spec):
            runtime.check_arguments(spec.path, **arguments)
        if runtime.traits.may_check(spec):
            notes = tuple(runtime.check_files(spec.path, **arguments))
    except (InvalidModel, UntrustedModel) as problem:
        return Estimated(None, problem.message, problem.hint, rejected=problem.code)
    if spec.max_memory is not None or not runtime.traits.may_estimate(spec):
        return Estimated(None, notes=notes)
    try:
        reported = runtime.estimate(spec.path, **arguments)
    except Exception as problem:
        log.warning("%s cannot be estimated", spec.name, exc_info=problem)
        return Estimated(None, f"{type(problem).__name__}: {problem}", notes=notes)
    return Estimated(reported if reported and reported > 0 else None, notes=notes)
