"""Checks and estimates that need a model's own code, run in a process of their own."""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

import msgspec

from sire.errors import SireError, error_from
from sire.spec import ModelSpec
from sired.daemon.host.log_setup import of_worker
from sired.daemon.services import Services
from sired.daemon.supervisor.one_shot import expect, one_shot
from sired.runtimes.discovery import find_traits
from sired.runtimes.needs import runtimes_needed
from sired.scheduler import events
from sired.workers.messages import Estimated, EstimateModel
from sired.workers.zygote.zygote import Zygote

# After this long the size of the model's files is used instead.
PATIENCE_SECONDS = 10.0

# Why a Python file is not asked for an estimate.
_NOT_NAMED = "A Python file is imported only if you name its class: --class FILE.py:Class"

log = logging.getLogger(__name__)


class Estimates:
    """Asks models' code, at once or as soon as workers can be started."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._later: list[ModelSpec] = []
        self._task: asyncio.Task[None] | None = None
        self._warm = asyncio.Event()
        services.warm_up.when_ready += [self._warm.set, self._catch_up]

    async def soon(self, spec: ModelSpec) -> ModelSpec:
        """The model as it is once it is checked, with the size that its code reports.

        If only the size is to be reported, and workers cannot be started yet, the brain and the
        registry are updated later.

        Raises:
            InvalidModel: it can never be loaded: its class does not take its arguments, or does
                not match the file.
            UntrustedModel: it can only be loaded with trust.
        """
        if await self._can_start(spec):
            found, reported = await self._ask(spec)
            if reported.rejected:
                raise error_from(reported.rejected, reported.problem, reported.hint, {})
            return found
        if _code_reports_more(spec):
            self._later.append(spec)
        return spec

    async def _can_start(self, spec: ModelSpec) -> bool:
        """Whether a worker can be started for a model; waits for it if that can be checked."""
        zygote = self._services.zygote
        needed = await asyncio.to_thread(runtimes_needed, spec)
        if zygote.has(needed):
            return True
        self._services.warm_up.need(spec)
        if find_traits(spec.runtime).may_check(spec):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not zygote.has(needed):
                        self._warm.clear()
                        await self._warm.wait()
        return zygote.has(needed)

    async def now(self, spec: ModelSpec) -> tuple[ModelSpec, str]:
        """The model with the size that its code reports, where that is more than its files state.

        Only code that the user named is run: the files may be of a directory that was downloaded.

        Returns:
            The model, and why its code could not be asked; "" if it could, or need not.
        """
        if spec.model_class is None and find_traits(spec.runtime).class_arguments:
            return spec, _NOT_NAMED if spec.path.endswith(".py") else ""
        found, reported = await self._ask(spec)
        return found, reported.problem

    def blocking(self, spec: ModelSpec) -> ModelSpec:
        """The model with the size that its code reports; for use in a thread.

        Raises:
            InvalidModel: its class does not take its arguments, or does not match the file.
            UntrustedModel: it can only be loaded with trust.
        """
        found, reported = self._ask_and_wait(spec)
        if reported.rejected:
            raise error_from(reported.rejected, reported.problem, reported.hint, {})
        return found

    async def _ask(self, spec: ModelSpec) -> tuple[ModelSpec, Estimated]:
        if not _code_reports_more(spec):
            return spec, Estimated(None)
        return await asyncio.to_thread(self._ask_and_wait, spec)

    def _ask_and_wait(self, spec: ModelSpec) -> tuple[ModelSpec, Estimated]:
        if not _code_reports_more(spec):
            return spec, Estimated(None)
        services = self._services
        paths = services.paths
        # What its code prints belongs to the model, once it has a name that is its own.
        log_file = paths.model_log(spec.name) if spec.registered_at else paths.standby_log
        reported = _estimate(services.zygote, spec, log_file)
        spec = msgspec.structs.replace(spec, notes=(*spec.notes, *reported.notes))
        if reported.weight_bytes is not None:
            # Of a recognised file the weights are counted; a class of its own counts everything.
            whole = not find_traits(spec.runtime).formats
            spec = msgspec.structs.replace(
                spec, weight_bytes=reported.weight_bytes, weights_reported=whole
            )
        return spec, reported

    def _catch_up(self) -> None:
        if self._later:
            self._task = asyncio.get_running_loop().create_task(self._ask_later())

    async def _ask_later(self) -> None:
        """Ask for the models that were registered before there were workers."""
        registry, conductor = self._services.registry, self._services.conductor
        while self._later:
            asked = self._later.pop()
            known, reported = await self._ask(asked)
            if reported.problem:
                log.warning("%s", reported.problem, extra=of_worker(asked.name))
            spec = registry.models.get(asked.name)
            if known is asked or spec is None or spec.registered_at != asked.registered_at:
                continue
            conductor.feed(
                events.ModelEstimated(spec.name, known.weight_bytes, known.weights_reported)
            )
            try:
                registry.update(
                    spec.name,
                    weight_bytes=known.weight_bytes,
                    weights_reported=known.weights_reported,
                    notes=known.notes,
                )
            except SireError as error:
                log.warning("its estimate is not stored: %s", error, extra=of_worker(spec.name))


def _code_reports_more(spec: ModelSpec) -> bool:
    """Whether a model's code can report its size, or check it."""
    traits = find_traits(spec.runtime)
    if traits.may_check(spec) or (spec.args and traits.passes_to_class(spec)):
        return True
    return spec.max_memory is None and traits.may_estimate(spec)


def _estimate(zygote: Zygote, spec: ModelSpec, printed: Path) -> Estimated:
    """Have a fresh worker estimate. Blocks."""
    try:
        with one_shot(zygote, EstimateModel(spec), printed) as worker:
            return expect(worker, Estimated, time.monotonic() + PATIENCE_SECONDS)
    except SireError as problem:
        log.warning("it could not be estimated: %s", problem, extra=of_worker(spec.name))
        return Estimated(None, problem.message)
