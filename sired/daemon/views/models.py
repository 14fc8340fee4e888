"""Models, registered or not, as clients see them."""

import time
from collections.abc import Iterable
from functools import partial

import msgspec

from sire.protocol.replies import DeviceFit, EstimateReport, ModelInfo, ModelList
from sire.spec import ModelSpec
from sired.daemon.services import Services
from sired.daemon.views.instances import instance, tier
from sired.runtimes.discovery import serves_http
from sired.scheduler.entities.instance import Instance
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.fit import Fit

# A model with several instances has the state among theirs that comes first here.
STATES = (
    "busy",
    "ready",
    "leased",
    "waking",
    "loading",
    "waiting",
    "asleep",
    "suspending",
    "stopping",
)
TIERS = ("device", "dram", "disk")


def models(services: Services, message_id: str | int) -> ModelList:
    """All registered models."""
    infos = tuple(model(services, name) for name in sorted(services.registry.models))
    return ModelList(
        id=message_id,
        models=infos,
        damaged=services.registry.damaged,
        aliases=services.aliases.states(),
    )


def model(services: Services, name: str, message_id: str | int = "") -> ModelInfo:
    """One registered model.

    Raises:
        ModelNotFound: no model has that name.
    """
    spec = services.registry.get(name)
    model = services.models[name]
    fleet = services.fleet
    instances = tuple(instance(services, each) for each in fleet.of(model))
    footprint, source = model.footprint(_kind_for(services, model), services.brain.rules)
    return ModelInfo(
        id=message_id,
        model=spec,
        state=state_of(services, model),
        instances=instances,
        footprint_bytes=footprint,
        footprint_source=source,
        signature=services.instances.signature_of(name),
        last_error=services.counters.of(name).last_error,
        tier=tier_of(fleet.of(model)),
        failed_loads=model.backoff.failed_loads,
        crashes=model.backoff.crashes,
        retry_seconds=_positive(model.backoff.until - time.monotonic()),
        defaulted=services.registry.defaulted(name),
        load_seconds=model.history.load_seconds or None,
        serves_http=serves_http(spec.runtime),
        addresses=services.gateways.addresses_of(name),
    )


def registered(services: Services, name: str, message_id: str | int) -> ModelInfo:
    """A model that was registered just now, and whether memory can ever be enough for it."""
    info = model(services, name, message_id)
    problem = services.brain.never_fits(services.models[name])
    if problem is None:
        return info
    text = " ".join(part for part in (problem.message, problem.hint) if part)
    return msgspec.structs.replace(info, never_fits=text)


def _positive(seconds: float) -> float | None:
    return seconds if seconds > 0 else None


def estimate(
    services: Services, spec: ModelSpec, model: Model, problem: str, message_id: str | int
) -> EstimateReport:
    """How a model would fit on each device, whether or not it is registered.

    Args:
        services: the daemon's parts.
        spec: the model.
        model: the same model as the brain knows it.
        problem: why the model's code could not estimate its size; "" if it could.
        message_id: the id of the request.
    """
    brain = services.brain
    return EstimateReport(
        id=message_id,
        path=spec.path,
        runtime=spec.runtime,
        format=spec.format,
        weight_bytes=spec.weight_bytes,
        devices=tuple(map(partial(_fit, services), brain.fit_by_device(model, time.monotonic()))),
        problem=problem,
    )


def _fit(services: Services, fit_by_device: Fit) -> DeviceFit:
    account = services.ledger.accounts[fit_by_device.device]
    return DeviceFit(
        device=fit_by_device.device,
        need_bytes=fit_by_device.need,
        source=fit_by_device.source,
        fits=fit_by_device.fits,
        capacity_bytes=account.capacity,
        free_bytes=max(0, account.usable()),
        evicts=fit_by_device.evicts,
    )


def tier_of(instances: Iterable[Instance]) -> str:
    """The tier nearest to a device that holds the weights of any of a model's instances."""
    return min(map(tier, instances), key=TIERS.index, default="disk")


def _kind_for(services: Services, model: Model) -> str:
    """The kind of device on which the model would most likely be placed."""
    accounts = services.ledger.accounts
    if model.device in accounts:
        return accounts[model.device].kind
    return next((account.kind for account in accounts.values()), "cpu")


def state_of(services: Services, model: Model) -> str:
    """The state of a model: the first in ``STATES`` among those of its instances."""
    fleet = services.fleet
    states = {instance.state_name for instance in fleet.of(model)}
    if services.pending_loads.get(model):
        states.add("waiting")
    return next((state for state in STATES if state in states), "unloaded")
