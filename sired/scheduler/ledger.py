"""Who holds how much memory of which device.

A charge is reserved before a process starts, corrected to what it measures, and released only
when the process is gone: bytes being freed are not free yet.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Charge:
    """What one instance is charged; ``settled`` once its process has really taken it."""

    memory: int
    settled: bool = False


@dataclass(slots=True)
class Account:
    """One device's side of the ledger.

    ``reported_free`` is what the driver last said; None until it said anything.
    """

    name: str
    kind: str
    capacity: int
    reported_free: int | None = None
    charges: dict[int, Charge] = field(default_factory=dict)

    @property
    def charged(self) -> int:
        """Bytes reserved or held, together."""
        return sum(charge.memory for charge in self.charges.values())

    @property
    def unsettled(self) -> int:
        """Bytes reserved but not taken yet: the driver still calls them free."""
        return sum(c.memory for c in self.charges.values() if not c.settled)

    def usable(self, freed: int = 0) -> int:
        """Bytes a new load could have, once ``freed`` bytes of instances are given back.

        The ledger is not the only one to take memory: the driver's word bounds it.
        """
        by_ledger = self.capacity - self.charged + freed
        if self.reported_free is None:
            return by_ledger
        return min(by_ledger, self.reported_free - self.unsettled + freed)

    @property
    def foreign(self) -> int:
        """Bytes of the capacity that others' processes keep from us."""
        return max(0, self.capacity - self.charged - self.usable())


class Ledger:
    """The accounts of all devices."""

    def __init__(self, accounts: list[Account]) -> None:
        self.accounts = {account.name: account for account in accounts}
        self._device_of: dict[int, Account] = {}

    def reserve(self, instance: int, device: str, memory: int) -> None:
        """Charge an instance before its process starts."""
        account = self.accounts[device]
        account.charges[instance] = Charge(memory)
        self._device_of[instance] = account

    def settle(self, instance: int, memory: int) -> None:
        """Correct a charge to what the process was measured to hold."""
        self._device_of[instance].charges[instance] = Charge(memory, settled=True)

    def release(self, instance: int) -> None:
        """Give back a charge: the process is gone."""
        account = self._device_of.pop(instance)
        del account.charges[instance]

    def charge(self, instance: int) -> int:
        """Bytes an instance is charged."""
        return self._device_of[instance].charges[instance].memory

    def overdrawn(self, device: str) -> int:
        """Bytes charged beyond the capacity: measuring found more than was reserved."""
        account = self.accounts[device]
        return max(0, account.charged - account.capacity)
