"""What a model's own code says it will take: asked in a process of its own, before it is loaded."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec

from sire.errors import SireError
from sire.spec import ModelSpec
from sired.daemon.host.log_setup import of_worker
from sired.daemon.services import Services
from sired.daemon.supervisor.one_shot import expect, one_shot
from sired.scheduler import events
from sired.workers.messages import Estimated, EstimateModel
from sired.workers.zygote.zygote import Zygote

# Whoever imports for longer is not waited for: the guess from the files is used.
PATIENCE_SECONDS = 10.0
# The runtimes whose files' headers say all there is to say; for the others only their code knows.
_TOLD_BY_FILES = {"huggingface", "onnx", "command", "ollama"}
# Of PyTorch's kinds of file the one that may hold more than a model's weights.
_MAY_HOLD_MORE = "state_dict"

log = logging.getLogger(__name__)


class Estimates:
    """Asks models' code, in its place or as soon as there are workers to ask it in."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._later: list[ModelSpec] = []
        self._task: asyncio.Task[None] | None = None
        services.when_warm.append(self._catch_up)

    async def soon(self, spec: ModelSpec) -> ModelSpec:
        """The model with what its code says of its size, if that can be told without waiting.

        Otherwise the brain and the registry hear of it later.
        """
        if self._services.warm:
            return (await self.now(spec))[0]
        if _may_tell_more(spec):
            self._later.append(spec)
        return spec

    async def now(self, spec: ModelSpec) -> tuple[ModelSpec, str]:
        """The model with what its code says of its size, where that may tell more than its files.

        Returns:
            The model, and why its code could not be asked; "" if it could, or need not.
        """
        if not _may_tell_more(spec):
            return spec, ""
        services = self._services
        said = await asyncio.to_thread(_ask, services.zygote, spec, services.paths.standby_log)
        if said.weight_bytes is not None:
            spec = msgspec.structs.replace(spec, weight_bytes=said.weight_bytes)
        return spec, said.problem

    def _catch_up(self) -> None:
        if self._later:
            self._task = asyncio.get_running_loop().create_task(self._ask_later())

    async def _ask_later(self) -> None:
        """Ask for those that were registered before there were workers."""
        registry, conductor = self._services.registry, self._services.conductor
        while self._later:
            asked = self._later.pop()
            known, _ = await self.now(asked)
            spec = registry.models.get(asked.name)
            if known is asked or spec is None or spec.registered_at != asked.registered_at:
                continue
            conductor.feed(events.ModelEstimated(spec.name, known.weight_bytes))
            try:
                registry.update(spec.name, weight_bytes=known.weight_bytes)
            except SireError as problem:
                log.warning("its estimate is not kept: %s", problem, extra=of_worker(spec.name))


def _may_tell_more(spec: ModelSpec) -> bool:
    if spec.max_memory is not None:
        return False
    if spec.runtime == "pytorch":
        return spec.format == _MAY_HOLD_MORE and spec.model_class is not None
    return spec.runtime not in _TOLD_BY_FILES


def _ask(zygote: Zygote, spec: ModelSpec, printed: Path) -> Estimated:
    """Have a fresh worker estimate. Blocks."""
    try:
        with one_shot(zygote, EstimateModel(spec), printed) as worker:
            return expect(worker, Estimated, time.monotonic() + PATIENCE_SECONDS)
    except SireError as problem:
        log.warning("it could not be estimated: %s", problem, extra=of_worker(spec.name))
        return Estimated(None, problem.message)
