"""How much memory of each device the instances hold.

A charge is reserved before a process starts, corrected to the measured memory, and released only
when the process has exited: bytes that are being freed are not free yet. A sleeping instance has
two charges: one on its device for what stays there, and one on the ``dram`` account for its
weights. While it falls asleep or wakes, both accounts are charged in full.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from sire.errors import SireError
from sired.scheduler.entities.backoff import Backoff
from sired.scheduler.rules import Rules


class DeviceState(Enum):
    """What can be done with a device.

    PRESENT: models are placed on it.
    RESTING: the last load showed that nothing can be loaded there, as on a GPU with damaged memory
        or in exclusive mode. What runs there goes on. It is tried again after a time.
    SILENT: its driver does not report on it. What runs there goes on; nothing is placed there.
    GONE: it is not there any more, and what ran there has ended.
    """

    PRESENT = auto()
    RESTING = auto()
    SILENT = auto()
    GONE = auto()


@dataclass(slots=True)
class Charge:
    """Bytes that one instance is charged, and how many of them its process has allocated."""

    memory: int
    allocated: int = 0


@dataclass(slots=True)
class Account:
    """The account of one device; sizes in bytes.

    Attributes:
        capacity: memory that instances may use.
        reported_free: the free memory that the driver last reported; None before the first report.
        state: what can be done with the device.
        backoff: how often loads have shown that it cannot be used, and until when it rests.
        charges: what each instance is charged, by its id.
        bounded_by: the setting that limits the capacity; empty if none does.
    """

    name: str
    kind: str
    capacity: int
    reported_free: int | None = None
    state: DeviceState = DeviceState.PRESENT
    backoff: Backoff = field(default_factory=Backoff)
    charges: dict[int, Charge] = field(default_factory=dict)
    bounded_by: str = ""

    @property
    def usable_now(self) -> bool:
        """Whether models may be placed on it."""
        return self.state is DeviceState.PRESENT

    def rest(self, error: SireError, now: float, rules: Rules) -> None:
        """Place nothing on it for a time: a load has failed with an error of the device."""
        self.backoff.load_failed(error, now, rules)
        if self.usable_now:
            self.state = DeviceState.RESTING

    def reported(self, *, gone: bool, silent: bool, now: float) -> None:
        """Apply what its driver reports."""
        if gone or silent:
            self.state = DeviceState.GONE if gone else DeviceState.SILENT
        else:
            resting = self.backoff.until > now
            self.state = DeviceState.RESTING if resting else DeviceState.PRESENT
            if not resting:
                self.backoff.error = None

    @property
    def charged(self) -> int:
        """The sum of all charges, in bytes."""
        return sum(charge.memory for charge in self.charges.values())

    @property
    def unallocated(self) -> int:
        """Bytes reserved but not allocated yet: the driver still reports them as free."""
        return sum(max(0, charge.memory - charge.allocated) for charge in self.charges.values())

    def usable(self, freed: int = 0, resident: int = 0) -> int:
        """Bytes that a new load could have.

        Other programs use memory, too, so the driver's report limits the result.

        Args:
            freed: bytes that instances will have given back by then.
            resident: bytes of the load that are in this memory already, charged to another
                account.
        """
        by_ledger = self.capacity - self.charged + freed
        if self.reported_free is None:
            return by_ledger
        return min(by_ledger, self.reported_free - self.unallocated + freed + resident)

    @property
    def foreign(self) -> int:
        """Bytes of the capacity that other programs occupy."""
        return max(0, self.capacity - self.charged - self.usable())


class Ledger:
    """The accounts of all devices, and of the main memory in which models sleep.

    Attributes:
        accounts: the accounts of the devices, by name.
        dram: the account of main memory. It is charged for instances that sleep, fall asleep or
            wake, and for what instances that are awake keep there.
    """

    def __init__(self, accounts: list[Account], dram: int = 0) -> None:
        self.accounts = {account.name: account for account in accounts}
        self.dram = Account("dram", "dram", dram)
        self._device_of: dict[int, Account] = {}

    def add(self, account: Account) -> None:
        """Open the account of a device that was not there before."""
        self.accounts[account.name] = account

    def reserve(self, instance: int, device: str, memory: int) -> None:
        """Charge an instance before its process starts."""
        account = self.accounts[device]
        account.charges[instance] = Charge(memory)
        self._device_of[instance] = account

    def set_charge(self, instance: int, memory: int) -> None:
        """Correct a charge to the bytes that the process was measured to hold."""
        self._device_of[instance].charges[instance] = Charge(memory, allocated=memory)

    def note_allocated(self, instance: int, memory: int) -> None:
        """Record how much of its charge a process that loads has allocated so far, in bytes."""
        charge = self._device_of[instance].charges[instance]
        charge.allocated = min(memory, charge.memory)

    def release(self, instance: int) -> None:
        """Release every charge of an instance: its process has exited."""
        account = self._device_of.pop(instance)
        del account.charges[instance]
        self.dram.charges.pop(instance, None)

    def begin_sleep(self, instance: int, memory: int) -> None:
        """Charge main memory before the weights move there; the device stays charged meanwhile."""
        allocated = memory if self._in_dram(instance) else self.dram_charge(instance)
        self.dram.charges[instance] = Charge(memory, allocated)

    def finish_sleep(self, instance: int, device_memory: int, dram_memory: int) -> None:
        """Correct both charges to the measured bytes: the weights are in main memory now."""
        self.set_charge(instance, device_memory)
        self.dram.charges[instance] = Charge(dram_memory, allocated=dram_memory)

    def begin_wake(self, instance: int, memory: int) -> None:
        """Charge the device before the weights are moved back to it."""
        charge = self._device_of[instance].charges[instance]
        charge.memory, charge.allocated = memory, charge.memory + self.already_resident(instance)

    def finish_wake(self, instance: int, kept: int) -> None:
        """Release main memory, except for the bytes that the process ``kept``."""
        self.dram.charges[instance] = Charge(kept, allocated=kept)
        if not kept:
            self.release_dram(instance)

    def release_dram(self, instance: int) -> None:
        """Release the main memory that a process kept."""
        self.dram.charges.pop(instance, None)

    def already_resident(self, instance: int) -> int:
        """Bytes of a sleeper that its device's memory holds already, as on a CPU; else 0."""
        return self.dram_charge(instance) if self._in_dram(instance) else 0

    def _in_dram(self, instance: int) -> bool:
        return self._device_of[instance].kind == "cpu"

    def dram_charge(self, instance: int) -> int:
        """Bytes of main memory that an instance is charged."""
        charge = self.dram.charges.get(instance)
        return charge.memory if charge else 0

    def charge(self, instance: int) -> int:
        """Bytes of its device that an instance is charged."""
        return self._device_of[instance].charges[instance].memory

    def allocated(self, instance: int) -> int:
        """Bytes of its charge that an instance is known to have allocated."""
        return self._device_of[instance].charges[instance].allocated

    def excess(self, device: str) -> int:
        """Bytes charged beyond the capacity, as when an instance is measured to hold more."""
        account = self.accounts[device]
        return max(0, account.charged - account.capacity)
