"""What a model's own code says it will take: asked in a process of its own, before it is loaded."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec

from sired.daemon.errand import errand, expect
from sired.daemon.logs import of_worker
from sired.daemon.services import Services
from sired.errors import SireError
from sired.spec import ModelSpec
from sired.workers.messages import Estimated, EstimateModel
from sired.workers.zygote import Zygote

# Whoever imports for longer is not waited for: the guess from the files is used.
PATIENCE_SECONDS = 20.0
# The runtimes whose files' headers say all there is to say; for the others only their code knows.
_TOLD_BY_FILES = {"huggingface", "onnx", "command", "ollama"}
# Of PyTorch's kinds of file the one that may hold more than a model's weights.
_MAY_HOLD_MORE = "state_dict"

log = logging.getLogger(__name__)


async def with_estimate(services: Services, spec: ModelSpec) -> tuple[ModelSpec, str]:
    """The model with what its code says of its size, where that may tell more than its files.

    Returns:
        The model, and why its code could not be asked; "" if it could, or need not.
    """
    if spec.max_memory is not None or not _may_tell_more(spec):
        return spec, ""
    said = await asyncio.to_thread(_ask, services.zygote, spec, services.paths.standby_log)
    if said.weight_bytes is not None:
        spec = msgspec.structs.replace(spec, weight_bytes=said.weight_bytes)
    return spec, said.problem


def _may_tell_more(spec: ModelSpec) -> bool:
    if spec.runtime == "pytorch":
        return spec.format == _MAY_HOLD_MORE and spec.model_class is not None
    return spec.runtime not in _TOLD_BY_FILES


def _ask(zygote: Zygote, spec: ModelSpec, printed: Path) -> Estimated:
    """Have a fresh worker estimate. Blocks."""
    try:
        with errand(zygote, EstimateModel(spec), printed) as worker:
            return expect(worker, Estimated, time.monotonic() + PATIENCE_SECONDS)
    except SireError as problem:
        log.warning("it could not be estimated: %s", problem, extra=of_worker(spec.name))
        return Estimated(None, problem.message)
