"""Devices that are gone, and come back.

1. What runs on a device that does not answer its driver any more is ended at once: nothing there
   can be of use to anybody.
2. Who was being served is served again elsewhere, but for who had leased the instance; models that
   nobody waits for are loaded elsewhere as well, if they were ready.
3. Nothing is placed there until the driver answers again.
"""

from sire.errors import DeviceNotFound
from sired.scheduler.entities.instance import Instance, Stopping
from sired.scheduler.handling.dispatch import RequestHandler
from sired.scheduler.handling.state import State
from sired.scheduler.instructions import ReloadModel
from sired.scheduler.memory.fleet import Fleet


class LostDeviceHandler:
    """Takes devices away and gives them back."""

    def __init__(self, state: State, requests: RequestHandler) -> None:
        self._state = state
        self._requests = requests
        self._fleet: Fleet = state.fleet

    def update(self, lost: frozenset[str], now: float) -> None:
        """These devices, and no others, do not answer."""
        for account in self._fleet.ledger.accounts.values():
            was, account.lost = account.lost, account.name in lost
            if account.lost and not was:
                self._end_all(account.name, now)

    def _end_all(self, device: str, now: float) -> None:
        there = [i for i in self._fleet.instances.values() if i.device == device]
        for instance in there:
            if not isinstance(instance.state, Stopping):
                self._end(instance, now)
        for model in dict.fromkeys(instance.model for instance in there):
            if self._state.models.get(model.name) is model:
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
