"""What a model would take, as its runtime tells without loading it."""

import logging

from sire.errors import SireError
from sire.spec import ModelSpec
from sired.runtimes.discovery import find_runtime
from sired.workers.child.load_arguments import load_arguments
from sired.workers.messages import Estimated

log = logging.getLogger("sired.worker")


def estimate(spec: ModelSpec) -> Estimated:
    """What a model's own code says its weights take once it is loaded, or why it does not."""
    try:
        told = find_runtime(spec.runtime).estimate(spec.path, **load_arguments(spec, "cpu"))
    except SireError as problem:
        return Estimated(None, problem.message)
    except BaseException as problem:
        log.warning("%s cannot be estimated", spec.name, exc_info=problem)
        return Estimated(None, f"{type(problem).__name__}: {problem}")
    return Estimated(told if told and told > 0 else None)
