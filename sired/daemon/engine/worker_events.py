"""Messages from workers, translated to events for the brain."""

from sire.errors import SireError, error_from
from sire.protocol.runs import RunPart, RunResult, WorkerError
from sired.daemon.engine.instances import Instances
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.workers.messages import (
    DirectFailed,
    DramFreed,
    FromWorker,
    LoadProgress,
    ModelReady,
    Slept,
    TrialFinding,
    Woke,
)


class WorkerEvents:
    """Translates every message that is not an answer, and has it recorded."""

    def __init__(self, brain: Brain, instances: Instances) -> None:
        self._brain = brain
        self._instances = instances

    def event(self, number: int, message: FromWorker) -> Event | None:
        """The event a message stands for; None if it does not concern the brain."""
        match message:
            case WorkerError(request=None):
                return self._failed(number, message)
            case WorkerError(request=int(request)):
                return events.RequestFinished(
                    number,
                    request,
                    message.peak_memory_bytes,
                    _error(message),
                    message.out_of_memory,
                    requested=message.requested_bytes,
                )
            case LoadProgress(read_bytes=read, total_bytes=total):
                return events.LoadProgressed(number, read, total)
            case ModelReady():
                memory = self._instances.ready(number, self._device(number), message)
                return events.WorkerReady(
                    number, memory, message.sleep_bytes, load_seconds=message.load_seconds
                )
            case Slept():
                held = self._instances.slept(number, self._device(number), message)
                return events.WorkerSlept(number, held, message.dram_bytes)
            case Woke():
                held = self._instances.woke(number, self._device(number), message)
                sleep_memory = self._brain.fleet.instances[number].sleep_memory
                return events.WorkerReady(number, held, sleep_memory, message.kept_bytes)
            case DramFreed():
                return events.WorkerDramFreed(number)
            case TrialFinding():
                return self._instances.found(number, message)
            case _:
                self._record(number, message)
        return None

    def _record(self, number: int, message: FromWorker) -> None:
        """Record a message that does not concern the brain."""
        if isinstance(message, RunResult | RunPart):
            raise ValueError("answers go to their clients")  # noqa: TRY004 (not a type to correct)
        if isinstance(message, DirectFailed):
            self._instances.failed_directly(number, message)

    def _failed(self, number: int, message: WorkerError) -> Event:
        error = _error(message)
        self._instances.load_failed(number, self._device(number), error)
        if self._brain.fleet.instances[number].asleep:
            return events.SleepFailed(number, error)
        return events.WorkerLoadFailed(
            number, error, message.out_of_memory, message.requested_bytes, message.device_failure
        )

    def _device(self, number: int) -> str:
        return self._brain.fleet.instances[number].device


def _error(message: WorkerError) -> SireError:
    return error_from(message.code, message.message, message.hint, message.details)
