"""The daemon's parts, made and put together."""

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sire.paths import Paths
from sired.config import LoadedSettings
from sired.daemon import views
from sired.daemon.direct.listener import DirectListener
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.replies import ReplyRouter
from sired.daemon.engine.warm_start import WarmStart
from sired.daemon.handlers.predictions import DirectAccess
from sired.daemon.jobs.service import JobService
from sired.daemon.models.defaults import OptionDefaults
from sired.daemon.plugins import find_policy, find_router, find_strategy
from sired.daemon.services import Services
from sired.daemon.telemetry.history_recorder import HistoryRecorder
from sired.daemon.telemetry.prometheus_server import PrometheusServer
from sired.devices.base import Device
from sired.devices.cpu import CpuProbe
from sired.devices.inventory import Inventory
from sired.devices.nvml import NvmlProbe
from sired.scheduler.brain import Brain
from sired.scheduler.entities.ledger import Account
from sired.scheduler.rules import Rules
from sired.server.front import Front
from sired.store.footprints import Footprints
from sired.store.loaded import LoadedModels
from sired.store.registry import Registry
from sired.workers.confinement import Confinement
from sired.workers.control_groups import ControlGroups, own_group
from sired.workers.zygote.zygote import Zygote


@dataclass(frozen=True, slots=True)
class Parts:
    """What requests need, and the two doors beside the front socket."""

    services: Services
    exporter: PrometheusServer
    door: DirectListener


def assemble(
    paths: Paths, loaded: LoadedSettings, loop: asyncio.AbstractEventLoop, listening: int | None
) -> Parts:
    """Make every part; nothing is open or started yet.

    Raises:
        SireError: a setting names nothing there is, or a file cannot be used.
    """
    settings = loaded.settings
    registry = Registry(paths.models, OptionDefaults(settings.defaults).fill)
    registry.load()
    gpus = NvmlProbe(visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    inventory = Inventory([gpus, CpuProbe()], settings)
    footprints = Footprints(paths.footprints)
    zygote = Zygote(
        {spec.runtime for spec in registry.models.values()},
        Confinement(settings.workers.limits, settings.workers.no_new_privileges),
    )
    front = Front(paths.checked_socket(), settings.daemon.max_message_bytes, listening)
    answers = ReplyRouter(front)
    conductor = Conductor(
        loop, _brain(loaded, inventory), answers, inventory, registry, footprints, zygote, paths
    )
    if settings.workers.limits and settings.workers.control_groups:
        parent = own_group(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
        conductor.instances.groups = ControlGroups(parent)
    jobs = JobService(loop, paths.jobs, front, conductor, registry, settings.jobs)
    answers.jobs = jobs.feed
    conductor.predictions.begun = jobs.feed.begun
    services = Services(
        paths,
        loaded,
        front,
        conductor,
        registry,
        inventory,
        footprints,
        jobs,
        WarmStart(conductor, registry, LoadedModels(paths.loaded), settings.daemon),
        HistoryRecorder(
            loop, paths.history, conductor.statistics, conductor.memory_by_model, settings.history
        ),
        zygote,
    )
    services.when_warm.append(conductor.supervisor.standby.fill)
    services.apply_limits()
    access = DirectAccess(services)
    return Parts(
        services,
        PrometheusServer(
            loop, partial(views.metrics, services), settings.metrics, services.complaints.append
        ),
        DirectListener(loop, paths.direct_socket, access.lead, access.terms),
    )


def _brain(loaded: LoadedSettings, inventory: Inventory) -> Brain:
    settings = loaded.settings
    return Brain(
        [_account(device) for device in inventory.devices],
        find_strategy(settings.placement.strategy),
        rules_from(loaded),
        find_router(settings.placement.routing),
        settings.tiers.dram,
    )


def rules_from(settings: LoadedSettings) -> Rules:
    """The brain's rules as the settings say them.

    Raises:
        InvalidConfiguration: there is no eviction policy of the name given.
    """
    given = settings.settings
    return Rules(
        queue_per_model=given.queue.per_model,
        queue_total=given.queue.total,
        ageing=given.queue.ageing,
        patience=given.queue.patience,
        turn_requests=given.queue.turn_requests,
        load_timeout=given.daemon.load_timeout,
        hung_after=given.daemon.hung_after,
        retry_after=given.daemon.retry_after,
        retry_most=given.daemon.retry_most,
        max_models=given.limits.max_models,
        most_instances=given.placement.most_instances,
        shrink_after=given.placement.shrink_after,
        file_factor=given.memory.file_factor,
        overhead={"cpu": given.memory.cpu_process, "cuda": given.memory.cuda_context},
        eviction=find_policy(given.placement.eviction),
        default_keep_alive=given.defaults.keep_alive,
    )


def _account(device: Device) -> Account:
    return Account(
        device.name, device.hardware.kind, device.capacity_bytes, bounded_by=device.bounded_by
    )
