"""The daemon's parts, as request handlers and views use them."""

import time
from dataclasses import dataclass, field

from sire.errors import DaemonUnavailable, DeviceNotFound, InvalidConfiguration, shown
from sire.nearest import did_you_mean
from sire.paths import Paths
from sire.spec import LONGEST_NAME
from sire.units import format_bytes
from sired.config import LoadedSettings
from sired.config.settings import Settings
from sired.daemon.direct.connections import DirectConnections
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.direct_broker import DirectBroker
from sired.daemon.engine.engine import Engine
from sired.daemon.engine.instances import Instances
from sired.daemon.engine.operations import Operations
from sired.daemon.engine.predictions import Predictions
from sired.daemon.engine.result_cache import ResultCache
from sired.daemon.engine.slots import Slots
from sired.daemon.engine.warm_start import WarmStart
from sired.daemon.gateways.manager import ServiceManager
from sired.daemon.jobs.service import JobService
from sired.daemon.models.aliases import Aliases
from sired.daemon.models.headers import HeaderReaders
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.event_log import EventLog
from sired.daemon.telemetry.history_recorder import HistoryRecorder
from sired.daemon.warm_up import WarmUp
from sired.devices.inventory import Inventory
from sired.scheduler.brain import Brain
from sired.scheduler.entities.ledger import DeviceState, Ledger
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoads
from sired.scheduler.memory.fleet import Fleet
from sired.server.front import Front
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.store.snapshots import Snapshots
from sired.workers.zygote.zygote import Zygote


@dataclass(slots=True)
class Services:
    """All parts of a daemon, side by side: no part is reached through another.

    Attributes:
        loaded: the settings in force and where each came from.
        models: the registered models as the brain knows them, with ``fleet``, the instances, and
            ``ledger``, what they are charged. All read-only.
        draining: the daemon is stopping and accepts no new work.
        reported_problems: problems of parts that do not keep their own.
        started: when the daemon started, on the monotonic clock.
    """

    paths: Paths
    loaded: LoadedSettings
    front: Front
    brain: Brain
    engine: Engine
    registry: Registry
    aliases: Aliases
    inventory: Inventory
    footprints: Footprints
    snapshots: Snapshots
    jobs: JobService
    gateways: ServiceManager
    warm_start: WarmStart
    history_recorder: HistoryRecorder
    zygote: Zygote
    warm_up: WarmUp
    headers: HeaderReaders = field(default_factory=HeaderReaders)
    draining: bool = False
    reported_problems: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    conductor: Conductor = field(init=False)
    operations: Operations = field(init=False)
    predictions: Predictions = field(init=False)
    slots: Slots = field(init=False)
    results: ResultCache = field(init=False)
    instances: Instances = field(init=False)
    supervisor: WorkerSupervisor = field(init=False)
    direct: DirectConnections = field(init=False)
    direct_broker: DirectBroker = field(init=False)
    counters: AllCounters = field(init=False)
    event_log: EventLog = field(init=False)

    def __post_init__(self) -> None:
        """Add the parts that the engine has made."""
        self.conductor = self.engine.conductor
        self.operations = self.engine.operations
        self.predictions = self.engine.predictions
        self.slots = self.engine.slots
        self.results = self.engine.results
        self.instances = self.engine.instances
        self.supervisor = self.engine.supervisor
        self.direct = self.engine.direct
        self.direct_broker = self.engine.direct_broker
        self.counters = self.engine.counters
        self.event_log = self.engine.event_log

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded.settings

    @property
    def models(self) -> dict[str, Model]:
        """The registered models as the brain knows them, by name."""
        return self.brain.models

    @property
    def fleet(self) -> Fleet:
        """The instances."""
        return self.brain.fleet

    @property
    def pending_loads(self) -> PendingLoads:
        """The loads that wait for memory."""
        return self.brain.loader.pending

    @property
    def ledger(self) -> Ledger:
        """What instances are charged on each device."""
        return self.brain.ledger

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong although the daemon runs, as ``sire health`` reports it."""
        damaged = [f"{name}: {why}" for name, why in self.registry.damaged.items()]
        return (
            *self.device_problems,
            *self._exceeded_declarations,
            *self._unlimited_groups,
            *damaged,
            *self.aliases.problems,
            *self.jobs.problems,
            *self.warm_start.problems,
            *self.history_recorder.problems,
            *self.gateways.problems,
            *self.reported_problems,
            *filter(None, [self.zygote.problem]),
        )

    @property
    def device_problems(self) -> tuple[str, ...]:
        """What is wrong with the devices, as ``sire devices`` reports it."""
        return (
            *self.inventory.problems,
            *(f"the driver of {name} no longer responds" for name in sorted(self.inventory.lost)),
            *(
                f"the driver does not report on {name} ({reason}): what runs there goes on, and "
                "nothing else is placed there. Try: sire daemon restart"
                for name, reason in self.inventory.silent.items()
            ),
            *(
                f"{account.backoff.error.message} What runs there goes on; nothing else is placed "
                "there until it is tried again. See: sire doctor"
                for account in self.ledger.accounts.values()
                if account.state is DeviceState.RESTING and account.backoff.error
            ),
        )

    @property
    def _unlimited_groups(self) -> list[str]:
        """Groups of models that the settings do not name any more."""
        named = {model.group for model in self.models.values()} - {"", *self.settings.groups}
        return [
            f"the group {name} has no limit: it is not in the settings. "
            f"Set it with: sire config set groups.{name}.memory SIZE"
            for name in sorted(named)
        ]

    @property
    def _exceeded_declarations(self) -> list[str]:
        """Models that took more memory than was declared for them."""
        return [
            f"{name} took {format_bytes(memory)} of {kind} memory, more than its max_memory of "
            f"{format_bytes(model.declared or 0)}: that much is reserved for it from now on"
            for name, model in self.models.items()
            for kind, memory in model.learned.items()
            if model.exceeds_declared(kind)
        ]

    def adopt(self, loaded: LoadedSettings) -> None:
        """Apply new settings."""
        self.loaded = loaded
        self.jobs.adopt(loaded.settings.jobs)
        self.warm_start.adopt(loaded.settings.daemon)
        self.history_recorder.adopt(loaded.settings.history)
        self.results.resize(loaded.settings.cache.memory)
        self.instances.adopt(loaded.settings.daemon)

    def timeout(self, given: float | None) -> float:
        """Seconds a request may take: as given, else as configured."""
        return self.settings.defaults.timeout if given is None else given

    def refuse_when_draining(self) -> None:
        """Reject new work while the daemon stops.

        Raises:
            DaemonUnavailable: the daemon is stopping.
        """
        if self.draining:
            raise DaemonUnavailable("The daemon is shutting down.", hint="Try again in a moment.")

    def check_group(self, name: str) -> None:
        """Check that the settings have a group, unless the name is empty.

        Raises:
            InvalidConfiguration: they have not.
        """
        names = list(self.settings.groups)
        if name and name not in names:
            raise InvalidConfiguration(
                f"There is no group {shown(name)}.",
                hint=f"{did_you_mean(name, names)}Groups: {', '.join(names) or 'none'}. "
                "Add one with: sire config set groups.NAME.memory SIZE",
            )

    def check_device(self, name: str) -> None:
        """Check that a device exists, or that it is "auto".

        Raises:
            DeviceNotFound: it does not exist.
        """
        names = [device.name for device in self.inventory.devices]
        if name not in {"auto", *names}:
            named = name[:LONGEST_NAME]
            raise DeviceNotFound(
                f"There is no device {shown(name)}.",
                hint=f"{did_you_mean(named, names)}Devices: {', '.join(names)}. See: sire devices",
                device=named,
            )
