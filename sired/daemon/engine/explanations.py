"""Explains the brain's decisions for the log at level debug: where loads go, and what waits."""

from collections.abc import Iterator, Sequence

from sire.units import format_bytes, format_duration
from sired.scheduler.brain import Brain
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.events import Event, RequestArrived
from sired.scheduler.instructions import Dispatch, Fail, Instruction, StartWorker


class Explanations:
    """Explains decisions; it changes nothing.

    Args:
        brain: decided.
    """

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._last_load = 0

    def of(
        self, event: Event, instructions: Sequence[Instruction], now: float
    ) -> Iterator[tuple[str, str]]:
        """The model and the text of each explanation of what the brain made of an event.

        Args:
            event: the event, which the brain has handled.
            instructions: what the brain instructed, not carried out yet.
            now: the time of the event, on the brain's clock.
        """
        for load in self._new_loads():
            yield load.model.name, self._why_no_memory(load, now)
        for do in instructions:
            if isinstance(do, StartWorker):
                yield do.model.name, self._why_there(do)
        if isinstance(event, RequestArrived) and not _decided(event.request, instructions):
            yield event.model, self._why_queued(event)

    def _new_loads(self) -> Iterator[PendingLoad]:
        """The loads that have begun to wait for memory since the last call."""
        pending = [load for load in self._brain.loader.pending if load.number > self._last_load]
        self._last_load = max((load.number for load in pending), default=self._last_load)
        return iter(pending)

    def _why_no_memory(self, load: PendingLoad, now: float) -> str:
        fits = "; ".join(
            f"{fit.device}: {fit.fits}" + (f" of {', '.join(fit.evicts)}" if fit.evicts else "")
            for fit in self._brain.fit_by_device(load.model, now)
        )
        return f"{load.model.name} waits for memory: {self._needs(load.model)}; fits on {fits}"

    def _why_there(self, do: StartWorker) -> str:
        left = ", ".join(
            f"{account.name} {format_bytes(max(0, account.usable()))} of "
            f"{format_bytes(account.capacity)}"
            for account in self._brain.ledger.accounts.values()
        )
        return (
            f"{do.model.name} is placed on {do.device}: {self._needs(do.model)}, "
            f"{format_bytes(do.memory)} reserved; left: {left}"
        )

    def _needs(self, model: Model) -> str:
        kinds = {account.kind for account in self._brain.ledger.accounts.values()}
        needs = {kind: model.footprint(kind, self._brain.rules) for kind in sorted(kinds)}
        return ", ".join(
            f"it needs {format_bytes(need)} on {kind} ({source})"
            for kind, (need, source) in needs.items()
        )

    def _why_queued(self, event: RequestArrived) -> str:
        model = self._brain.models[event.model]
        found = self._brain.position(event.request)
        position, wait = found if found is not None else (0, None)
        expected = "an unknown time" if wait is None else format_duration(wait)
        states = [one.state_name for one in self._brain.fleet.of(model)]
        if self._brain.loader.pending.get(model):
            states.append("waiting for memory")
        there = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return (
            f"request {event.request} for {event.model} is number {position} in its queue, for "
            f"about {expected}; instances: {there or 'none'}"
        )


def _decided(request: int, instructions: Sequence[Instruction]) -> bool:
    """Whether a request was dispatched or failed at once."""
    return any(
        (isinstance(do, Dispatch) and request in do.requests)
        or (isinstance(do, Fail) and do.operation == request)
        for do in instructions
    )
