"""The daemon's parts, as those need them who answer requests."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sire.errors import DaemonUnavailable, DeviceNotFound, shown
from sire.nearest import meant
from sire.paths import Paths
from sire.spec import LONGEST_NAME
from sired.config import LoadedSettings
from sired.config.settings import Settings
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.warm_start import WarmStart
from sired.daemon.jobs.service import JobService
from sired.daemon.telemetry.history_recorder import HistoryRecorder
from sired.devices.inventory import Inventory
from sired.server.front import Front
from sired.store.footprints import Footprints
from sired.store.registry import Registry
from sired.workers.zygote.zygote import Zygote


@dataclass(slots=True)
class Services:
    """What there is one of in a daemon.

    Attributes:
        loaded: the settings in force, each with where it came from.
        draining: whether the daemon is told to stop, and takes no more work.
        warm: whether the zygote is ready, and
        when_warm: what is called each time it has become so.
        complaints: problems of parts that nobody else asks for theirs.
        started: when the daemon was, by the clock that never goes back.
    """

    paths: Paths
    loaded: LoadedSettings
    front: Front
    conductor: Conductor
    registry: Registry
    inventory: Inventory
    footprints: Footprints
    jobs: JobService
    warm_start: WarmStart
    historian: HistoryRecorder
    zygote: Zygote
    draining: bool = False
    warm: bool = False
    when_warm: list[Callable[[], None]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded.settings

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be, though the daemon runs."""
        damaged = [f"{name}: {why}" for name, why in self.registry.damaged.items()]
        return (
            *self.inventory.problems,
            *(f"{name} does not answer its driver any more" for name in self.inventory.lost),
            *damaged,
            *self.jobs.problems,
            *self.warm_start.problems,
            *self.historian.problems,
            *self.complaints,
            *filter(None, [self.zygote.problem]),
        )

    def adopt(self, loaded: LoadedSettings) -> None:
        """Go by these settings from now on."""
        self.loaded = loaded
        self.jobs.adopt(loaded.settings.jobs)
        self.warm_start.adopt(loaded.settings.daemon)
        self.historian.adopt(loaded.settings.history)
        self.apply_limits()

    def apply_limits(self) -> None:
        """Have the conductor go by the settings in force."""
        self.conductor.predictions.results.resize(self.settings.cache.memory)
        self.conductor.instances.largest_decoded = self.settings.daemon.max_decoded_bytes

    def timeout(self, given: float | None) -> float:
        """Seconds that a request may take that names so many or none."""
        return self.settings.defaults.timeout if given is None else given

    def refuse_when_draining(self) -> None:
        """Take no new work while the daemon stops.

        Raises:
            DaemonUnavailable: it does.
        """
        if self.draining:
            raise DaemonUnavailable("The daemon is shutting down.", hint="Try again in a moment.")

    def check_device(self, name: str) -> None:
        """See that there is such a device, or that any will do.

        Raises:
            DeviceNotFound: there is none.
        """
        names = [device.name for device in self.inventory.devices]
        if name not in {"auto", *names}:
            named = name[:LONGEST_NAME]
            raise DeviceNotFound(
                f"There is no device {shown(name)}.",
                hint=f"{meant(named, names)}There are: {', '.join(names)}. See: sire devices",
                device=named,
            )
