"""Devices that are gone or not reported on, and recover.

1. Instances on a device that is gone are killed at once: they cannot be of use any more.
2. Their requests run again elsewhere, except those under a lease. Models that were ready are loaded
   elsewhere even if nothing waits for them.
3. Nothing is placed on the device until its driver responds again.
4. On a device that is there and that the driver fails to report on, instances go on serving. How
   much memory is free there is unknown, so nothing more is placed there.
5. A device on which the last load has shown that nothing can be loaded rests (see ``operations``),
   for as long as a model would that failed to load (see ``backoff``).
"""

from sire.errors import DeviceNotFound
from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.entities.ledger import DeviceState
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
            was = account.state
            account.reported(gone=account.name in lost, silent=account.name in silent, now=now)
            if account.state is DeviceState.GONE and was is not DeviceState.GONE:
                self._end_all(account.name, now)

    def _end_all(self, device: str, now: float) -> None:
        there = [i for i in self._fleet.instances.values() if i.device == device]
        for instance in there:
            if not isinstance(instance.state, Stopping):
                self._end(instance, now)
        for model in dict.fromkeys(instance.model for instance in there):
            if current := self._state.models.get(model.name):
                self._requests.dispatch(current, now)
            else:  # it was removed while it still answered
                self._state.queues.fail_all(model, _lost(device))

    def _end(self, instance: Instance, now: float) -> None:
        error = _lost(instance.device)
        served = instance.accepting
        model = self._state.models.get(instance.model.name, instance.model)
        self._requests.requeue_all(instance, model, error)
        self._fleet.stop(instance, now, kill=True)
        if served and not model.needed and model.device == "auto":
            self._state.out.append(ReloadModel(model.name))


def _lost(device: str) -> DeviceNotFound:
    return DeviceNotFound(
        f"{device} no longer responds to its driver.",
        hint="Check it with: sire devices",
        device=device,
    )
