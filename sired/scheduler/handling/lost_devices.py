"""Devices that are gone or not reported on, and recover.

1. Instances on a device that is gone are killed at once: they cannot be of use any more.
2. Their requests run again elsewhere, except those under a lease. Models that were ready are loaded
   elsewhere even if nothing waits for them.
3. Nothing is placed on the device until its driver responds again.
4. On a device that is there and that the driver fails to report on, instances go on serving. How
   much memory is free there is unknown, so nothing more is placed there.
"""

from sire.errors import DeviceNotFound
from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import ReloadModel
from sired.scheduler.memory.fleet import Fleet


class LostDeviceHandler:
    """Ends what runs on lost devices, and excludes them from placement."""

    def __init__(self, state: State, requests: RequestHandler) -> None:
        self._state = state
        self._requests = requests
        self._fleet: Fleet = state.fleet

    def update(self, lost: frozenset[str], silent: frozenset[str], now: float) -> None:
        """Apply the sets of devices that are gone and not reported on; all others respond."""
        for account in self._fleet.ledger.accounts.values():
            account.silent = account.name in silent
            was, account.lost = account.lost, account.name in lost
            if account.lost and not was:
                self._end_all(account.name, now)

    def _end_all(self, device: str, now: float) -> None:
        there = [i for i in self._fleet.instances.values() if i.device == device]
        for instance in there:
            if not isinstance(instance.state, Stopping):
                self._end(instance, now)
        # A model that was registered anew meanwhile has their requests.
        for name in dict.fromkeys(instance.model.name for instance in there):
            if (model := self._state.models.get(name)) is not None:
                self._requests.dispatch(model, now)

    def _end(self, instance: Instance, now: float) -> None:
        error = DeviceNotFound(
            f"{instance.device} no longer responds to its driver.",
            hint="Check it with: sire devices",
            device=instance.device,
        )
        served = instance.accepting
        model = self._state.models.get(instance.model.name, instance.model)
        self._requests.requeue_all(instance, model, error)
        self._fleet.stop(instance, now, kill=True)
        if served and not model.needed and model.device == "auto":
            self._state.out.append(ReloadModel(model.name))
