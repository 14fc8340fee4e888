"""Who holds how much memory of which device.

A charge is reserved before a process starts, corrected to what it measures, and released only
when the process is gone: bytes being freed are not free yet. An instance that sleeps is charged
twice: on its device for what stays there, on the account of ``dram`` for its weights; while it
falls asleep or wakes, for all of it on both.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Charge:
    """What one instance is charged, and how much of it its process has really taken."""

    memory: int
    allocated: int = 0


@dataclass(slots=True)
class Account:
    """One device's side of the ledger.

    ``reported_free`` is what the driver last said; None until it said anything. ``lost`` while it
    says nothing any more. ``bounded_by`` is the setting that makes the capacity what it is.
    """

    name: str
    kind: str
    capacity: int
    reported_free: int | None = None
    lost: bool = False
    charges: dict[int, Charge] = field(default_factory=dict)
    bounded_by: str = ""

    @property
    def charged(self) -> int:
        """Bytes reserved or held, together."""
        return sum(charge.memory for charge in self.charges.values())

    @property
    def unallocated(self) -> int:
        """Bytes reserved but not taken yet: the driver still calls them free."""
        return sum(max(0, charge.memory - charge.allocated) for charge in self.charges.values())

    def usable(self, freed: int = 0, resident: int = 0) -> int:
        """Bytes a new load could have, once ``freed`` bytes of instances are given back.

        The ledger is not the only one to take memory: the driver's word bounds it. ``taken`` are
        bytes of the load that are there already, charged to another account.
        """
        by_ledger = self.capacity - self.charged + freed
        if self.reported_free is None:
            return by_ledger
        return min(by_ledger, self.reported_free - self.unallocated + freed + resident)

    @property
    def foreign(self) -> int:
        """Bytes of the capacity that others' processes keep from us."""
        return max(0, self.capacity - self.charged - self.usable())


class Ledger:
    """The accounts of all devices, and that of the main memory in which models sleep.

    Attributes:
        accounts: by device name.
        dram: what instances that sleep, fall asleep or wake are charged besides, and what those
            that are awake keep there.
    """

    def __init__(self, accounts: list[Account], dram: int = 0) -> None:
        self.accounts = {account.name: account for account in accounts}
        self.dram = Account("dram", "dram", dram)
        self._device_of: dict[int, Account] = {}

    def reserve(self, instance: int, device: str, memory: int) -> None:
        """Charge an instance before its process starts."""
        account = self.accounts[device]
        account.charges[instance] = Charge(memory)
        self._device_of[instance] = account

    def set_charge(self, instance: int, memory: int) -> None:
        """Correct a charge to what the process was measured to hold."""
        self._device_of[instance].charges[instance] = Charge(memory, allocated=memory)

    def release(self, instance: int) -> None:
        """Give back every charge of an instance: the process is gone."""
        account = self._device_of.pop(instance)
        del account.charges[instance]
        self.dram.charges.pop(instance, None)

    def begin_sleep(self, instance: int, memory: int) -> None:
        """Charge main memory before the weights go there; the device stays charged meanwhile."""
        taken = memory if self._in_dram(instance) else self.dram_charge(instance)
        self.dram.charges[instance] = Charge(memory, taken)

    def finish_sleep(self, instance: int, device_memory: int, dram_memory: int) -> None:
        """Correct both charges to what was measured: the weights are where they are to be."""
        self.set_charge(instance, device_memory)
        self.dram.charges[instance] = Charge(dram_memory, allocated=dram_memory)

    def begin_wake(self, instance: int, memory: int) -> None:
        """Charge the device before the weights go back there."""
        charge = self._device_of[instance].charges[instance]
        charge.memory, charge.allocated = memory, charge.memory + self.already_resident(instance)

    def finish_wake(self, instance: int, kept: int) -> None:
        """Give back what the weights took in main memory, but for what the process ``kept``."""
        self.dram.charges[instance] = Charge(kept, allocated=kept)
        if not kept:
            self.release_dram(instance)

    def release_dram(self, instance: int) -> None:
        """Give back what a process kept of main memory."""
        self.dram.charges.pop(instance, None)

    def already_resident(self, instance: int) -> int:
        """Bytes of a sleeper that need not come to its device: a CPU's are in its memory."""
        return self.dram_charge(instance) if self._in_dram(instance) else 0

    def _in_dram(self, instance: int) -> bool:
        return self._device_of[instance].kind == "cpu"

    def dram_charge(self, instance: int) -> int:
        """Bytes of main memory an instance is charged for its sleep."""
        charge = self.dram.charges.get(instance)
        return charge.memory if charge else 0

    def charge(self, instance: int) -> int:
        """Bytes an instance is charged."""
        return self._device_of[instance].charges[instance].memory

    def excess(self, device: str) -> int:
        """Bytes charged beyond the capacity: measuring found more than was reserved."""
        account = self.accounts[device]
        return max(0, account.charged - account.capacity)
