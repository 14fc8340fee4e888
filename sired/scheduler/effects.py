"""The side effects of the brain, as one interface.

The daemon implements it with processes and sockets, the simulation with a made-up machine. Methods
are called in the order of the instructions. They return at once and never call the brain: what
follows from an effect comes back as an event.
"""

from collections.abc import Callable
from typing import Any, Protocol

from sired.scheduler.instructions import (
    CloseDirect,
    Complete,
    Dispatch,
    Evicted,
    Fail,
    FreeWorkerDram,
    Learn,
    LeaseGranted,
    LeaseLost,
    ReloadModel,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)


class Effects(Protocol):
    """Carries out instructions."""

    def start_worker(self, do: StartWorker) -> None:
        """Start a process and have it load the model.

        Followed by any number of LoadProgressed, then WorkerReady or WorkerLoadFailed; or by
        WorkerGone if the process could not be started or has died.
        """

    def stop_worker(self, do: StopWorker) -> None:
        """End a process, at the latest after its grace period; with ``kill`` at once.

        Followed by WorkerGone once the process and its memory are gone, never before.
        """

    def sleep_worker(self, do: SleepWorker) -> None:
        """Have a process move its weights to main memory.

        Followed by WorkerSlept or SleepFailed, or by WorkerGone.
        """

    def wake_worker(self, do: WakeWorker) -> None:
        """Have a process move its weights back to its device.

        Followed by WorkerReady or WorkerLoadFailed, or by WorkerGone.
        """

    def free_worker_dram(self, do: FreeWorkerDram) -> None:
        """Have a process release the main memory it kept; followed by WorkerDramFreed."""

    def dispatch(self, do: Dispatch) -> None:
        """Send requests to a process; they run in one pass where there are several.

        Followed by one RequestFinished for each, or by WorkerGone.
        """

    def fail(self, do: Fail) -> None:
        """Answer an operation with an error. The brain has forgotten it: nothing follows."""

    def complete(self, do: Complete) -> None:
        """Answer an operation. The brain has forgotten it: nothing follows."""

    def lease_granted(self, do: LeaseGranted) -> None:
        """Tell the holder about its instance; followed by LeaseReturned one day."""

    def lease_lost(self, do: LeaseLost) -> None:
        """Record that a lease has lost its instance; its holder still returns it."""

    def close_direct(self, do: CloseDirect) -> None:
        """Have the direct connections of an instance end after what they carried is answered.

        Followed by DirectUsed with ``busy`` false once the worker is done with them.
        """

    def reload_model(self, do: ReloadModel) -> None:
        """Request a load of a model; followed by LoadRequested."""

    def learn(self, do: Learn) -> None:
        """Keep a measured footprint for later daemons; nothing follows."""

    def evicted(self, do: Evicted) -> None:
        """Record an eviction; nothing follows."""


def methods(effects: Effects) -> dict[type[Any], Callable[[Any], None]]:
    """The method that carries out each kind of instruction."""
    return {
        StartWorker: effects.start_worker,
        StopWorker: effects.stop_worker,
        SleepWorker: effects.sleep_worker,
        WakeWorker: effects.wake_worker,
        FreeWorkerDram: effects.free_worker_dram,
        Dispatch: effects.dispatch,
        Fail: effects.fail,
        Complete: effects.complete,
        LeaseGranted: effects.lease_granted,
        LeaseLost: effects.lease_lost,
        CloseDirect: effects.close_direct,
        ReloadModel: effects.reload_model,
        Learn: effects.learn,
        Evicted: effects.evicted,
    }
