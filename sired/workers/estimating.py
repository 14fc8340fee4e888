"""What a model would take, as its runtime tells without loading it."""

import logging

from sired.runtimes.discovery import find_runtime
from sired.spec import ModelSpec
from sired.workers.load_arguments import load_arguments

log = logging.getLogger("sired.worker")


def estimate(spec: ModelSpec) -> int | None:
    """Bytes of a model's weights once it is loaded; None where its files tell it better.

    A runtime or class that cannot tell will say why when it is to load: here it goes to the log.
    """
    try:
        told = find_runtime(spec.runtime).estimate(spec.path, **load_arguments(spec, "cpu"))
    except BaseException as problem:
        log.warning("%s cannot be estimated: %s: %s", spec.name, type(problem).__name__, problem)
        return None
    return told if told and told > 0 else None
