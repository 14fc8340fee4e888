"""Adopts GPUs that appear while the daemon runs: their driver is loaded late, or repaired."""

import asyncio
import contextlib
import logging
import threading

from sire.nvidia import lacks_unified_memory
from sire.paths import Paths
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.instances import grant
from sired.daemon.supervisor.standby import Standby
from sired.devices.inventory import Inventory
from sired.devices.nvml import make_unified_memory
from sired.scheduler.events import DeviceAdded

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


class DeviceWatch:
    """Looks for devices every few seconds as long as some are missing.

    Args:
        loop: the event loop.
        inventory: finds the devices.
        conductor: tells the scheduler of them.
        standby: starts their standby workers.
        paths: where the locks of GPUs are.
        problems: takes what keeps CUDA from working.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inventory: Inventory,
        conductor: Conductor,
        standby: Standby,
        paths: Paths,
        problems: list[str],
    ) -> None:
        self._loop = loop
        self._inventory = inventory
        self._conductor = conductor
        self._standby = standby
        self._paths = paths
        self._problems = problems
        self._next_look = loop.time() + LOOK_SECONDS

    def look(self) -> None:
        """Look for devices, if some are missing and it is time to."""
        if self._loop.time() < self._next_look or not self._inventory.incomplete:
            return
        self._next_look = self._loop.time() + LOOK_SECONDS
        threading.Thread(target=self._prepare, name="new-devices", daemon=True).start()

    def check_unified_memory(self) -> None:
        """Create the device file that CUDA needs, or report why it is missing. May block."""
        if (problem := make_unified_memory()) and problem not in self._problems:
            log.error("%s", problem)
            self._problems.append(problem)

    def _prepare(self) -> None:
        if lacks_unified_memory():
            self.check_unified_memory()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._adopt)

    def _adopt(self) -> None:
        # In one turn of the loop: nothing may see a device that the scheduler does not know.
        if not (found := self._inventory.look_again()):
            return
        for device in found:
            kind, capacity = device.hardware.kind, device.capacity_bytes
            log.info("%s (%s) is there now", device.name, device.hardware.model)
            self._standby.add(grant(device, self._paths), device.standby)
            self._conductor.feed(DeviceAdded(device.name, kind, capacity, device.bounded_by))
        self._conductor.sample()
        self._standby.fill()
