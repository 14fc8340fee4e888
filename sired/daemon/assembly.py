"""The daemon's parts, made and put together."""

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sire.paths import Paths
from sired.config import LoadedSettings
from sired.config.settings import Settings
from sired.daemon import views
from sired.daemon.direct.listener import DirectListener
from sired.daemon.direct.payloads import PassedPayloads
from sired.daemon.engine.engine import Engine
from sired.daemon.engine.recorder import FileRecorder
from sired.daemon.engine.warm_start import WarmStart
from sired.daemon.gateways.configured import configured_service
from sired.daemon.gateways.manager import ServiceManager
from sired.daemon.handlers.predictions import DaemonDirectAccess
from sired.daemon.jobs.service import JobService
from sired.daemon.models.aliases import Aliases
from sired.daemon.models.defaults import OptionDefaults
from sired.daemon.plugins import find_policy, find_router, find_strategy
from sired.daemon.services import Services
from sired.daemon.telemetry.history_recorder import HistoryRecorder
from sired.daemon.telemetry.prometheus_server import PrometheusServer
from sired.daemon.warm_up import WarmUp
from sired.devices.asking import AskingProbe
from sired.devices.base import Device
from sired.devices.cpu import CpuProbe
from sired.devices.inventory import Inventory
from sired.devices.nvml import NvmlProbe
from sired.scheduler.brain import Brain
from sired.scheduler.entities.ledger import Account
from sired.scheduler.recording import Policies
from sired.scheduler.rules import Rules
from sired.server.front import Front
from sired.store.aliases import AliasFile
from sired.store.footprints import Footprints
from sired.store.loaded import LoadedModels
from sired.store.registry import Registry
from sired.store.snapshots import Snapshots
from sired.workers.confinement import Confinement
from sired.workers.control_groups import ControlGroups, own_group
from sired.workers.zygote.zygote import Zygote

# The environment variable that names the file to record every event and instruction to.
RECORD = "SIRE_RECORD"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that handlers use, and the two listeners beside the front socket."""

    services: Services
    prometheus_server: PrometheusServer
    direct_listener: DirectListener


def assemble(
    paths: Paths, loaded: LoadedSettings, loop: asyncio.AbstractEventLoop, listening: int | None
) -> Parts:
    """Make all parts; nothing is opened or started yet.

    Raises:
        SireError: a setting names something that does not exist, or a file cannot be used.
    """
    services = _services(paths, loaded, loop, listening)
    payloads = PassedPayloads(loop, loaded.settings.daemon.max_message_bytes)
    services.front.claim = payloads.claim
    return Parts(
        services,
        PrometheusServer(
            loop,
            partial(views.metrics, services),
            partial(views.health, services),
            loaded.settings.metrics,
            services.reported_problems.append,
        ),
        DirectListener(loop, paths.direct_socket, DaemonDirectAccess(services), payloads),
    )


def _services(
    paths: Paths, loaded: LoadedSettings, loop: asyncio.AbstractEventLoop, listening: int | None
) -> Services:
    settings = loaded.settings
    registry, snapshots = _registry(paths, settings)
    gpus = AskingProbe(NvmlProbe(visible=os.environ.get("CUDA_VISIBLE_DEVICES")))
    inventory = Inventory([gpus, CpuProbe()], settings)
    footprints = Footprints(paths.footprints)
    zygote = Zygote(
        confinement=Confinement(settings.workers.limits, settings.workers.no_new_privileges)
    )
    front = Front(
        paths.checked_socket(),
        settings.daemon.max_message_bytes,
        listening,
        held=settings.queue.memory,
    )
    brain = _brain(settings, inventory)
    engine = Engine(
        loop,
        brain,
        front,
        inventory,
        registry,
        footprints,
        zygote,
        _control_groups(settings),
        paths,
        settings.daemon,
        settings.cache.memory,
        _recorder(brain, settings),
    )
    warm_up = WarmUp(loop, zygote, inventory)
    warm_up.when_ready.append(engine.supervisor.standby.fill)
    return Services(
        paths=paths,
        loaded=loaded,
        front=front,
        brain=brain,
        engine=engine,
        registry=registry,
        aliases=Aliases(AliasFile(paths.aliases), registry, brain),
        inventory=inventory,
        footprints=footprints,
        snapshots=snapshots,
        jobs=_jobs(paths, settings, loop, brain, engine),
        gateways=ServiceManager(
            loop, paths, lambda: brain.rules, configured_service(settings.http, loaded.path.parent)
        ),
        warm_start=WarmStart(
            brain,
            engine.conductor,
            engine.operations,
            registry,
            LoadedModels(paths.loaded),
            settings.daemon,
        ),
        history_recorder=HistoryRecorder(
            loop, paths.history, engine.counters, brain.memory_by_model, settings.history
        ),
        zygote=zygote,
        warm_up=warm_up,
    )


def _registry(paths: Paths, settings: Settings) -> tuple[Registry, Snapshots]:
    registry = Registry(paths.models, OptionDefaults(settings.defaults).fill)
    registry.load()
    snapshots = Snapshots(paths.snapshots)
    # The database of jobs is as old as sire, and is created later.
    snapshots.adopt(registry.models, earlier=paths.jobs.exists())
    return registry, snapshots


def _jobs(
    paths: Paths,
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    brain: Brain,
    engine: Engine,
) -> JobService:
    operations, predictions = engine.operations, engine.predictions
    return JobService(loop, paths.jobs, brain, operations, predictions, settings.jobs)


def _control_groups(settings: Settings) -> ControlGroups:
    if settings.workers.limits and settings.workers.control_groups:
        return ControlGroups(own_group(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))
    return ControlGroups()


def _recorder(brain: Brain, settings: Settings) -> FileRecorder | None:
    file = os.environ.get(RECORD)
    return FileRecorder(Path(file), brain, policies_from(settings)) if file else None


def policies_from(settings: Settings) -> Policies:
    """The names of the policies in force."""
    placement = settings.placement
    return Policies(placement.strategy, placement.routing, placement.eviction)


def _brain(settings: Settings, inventory: Inventory) -> Brain:
    return Brain(
        [_account(device) for device in inventory.devices],
        find_strategy(settings.placement.strategy),
        rules_from(settings),
        find_router(settings.placement.routing),
        settings.tiers.dram,
    )


def rules_from(settings: Settings) -> Rules:
    """The brain's rules as the settings state them.

    Raises:
        InvalidConfiguration: the eviction policy does not exist.
    """
    return Rules(
        queue_per_model=settings.queue.per_model,
        queue_total=settings.queue.total,
        queue_memory=settings.queue.memory,
        ageing=settings.queue.ageing,
        patience=settings.queue.patience,
        turn_requests=settings.queue.turn_requests,
        load_timeout=settings.daemon.load_timeout,
        hung_after=settings.daemon.hung_after,
        retry_after=settings.daemon.retry_after,
        retry_most=settings.daemon.retry_most,
        max_models=settings.limits.max_models,
        groups={name: group.memory for name, group in settings.groups.items()},
        most_instances=settings.placement.most_instances,
        shrink_after=settings.placement.shrink_after,
        file_factor=settings.memory.file_factor,
        overhead={"cpu": settings.memory.cpu_process, "cuda": settings.memory.cuda_context},
        eviction=find_policy(settings.placement.eviction),
        default_keep_alive=settings.defaults.keep_alive,
    )


def _account(device: Device) -> Account:
    return Account(
        device.name, device.hardware.kind, device.capacity_bytes, bounded_by=device.bounded_by
    )
