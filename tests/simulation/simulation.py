"""One run of a scheduler, a machine and clients from a seed; equal seeds give equal runs."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.instructions import (
    CloseDirect,
    Complete,
    Dispatch,
    Fail,
    FreeWorkerDram,
    LeaseGranted,
    LeaseLost,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from sired.scheduler.rules import Rules
from tests.simulation.allowed import Allowed
from tests.simulation.clients import Clients, some_rules, some_strategies
from tests.simulation.drivers import Drivers
from tests.simulation.invariants import Invariants
from tests.simulation.journal import Journal
from tests.simulation.layouts import Layout
from tests.simulation.leftovers import leftovers
from tests.simulation.record import Record, Violation, ensure
from tests.simulation.world import Conditions, World

SAMPLE_SECONDS = 1.0
# Of each step, that a driver changes its mind.
DRIVER_ACTS = 0.03


class Simulation:
    """Drives a scheduler on a simulated machine."""

    def __init__(
        self,
        layout: Layout,
        seed: int,
        conditions: Conditions | None = None,
        rules: Rules | None = None,
        clients: type[Clients] = Clients,
    ) -> None:
        conditions = conditions or Conditions()
        self.random = random = Random(seed)
        self.layout, self.now, self.fed = layout, 0.0, 0
        self.strategy, self.router = some_strategies(random)
        rules = replace(rules or some_rules(random), groups=dict(layout.groups))
        self.brain = Brain(layout.accounts(), self.strategy, rules, self.router, layout.dram)
        self.record = Record()
        self.world = World(random, conditions, self.record, dict(layout.devices), layout.dram)
        self.world.feed = self.feed
        self.clients = clients(random, layout, self.brain, self.world, self.record, self.feed)
        self.drivers = Drivers(random, self.world, layout.later)
        self.allowed = Allowed(self.brain, self.world, self.record)
        self.invariants = Invariants(self.brain, self.world, self.record)
        self.journal = Journal()
        self._carry_out: dict[type, Callable[[Any], object]] = {
            StartWorker: self.world.start,
            StopWorker: self.world.stop,
            SleepWorker: self.world.sleep,
            WakeWorker: self.world.wake,
            FreeWorkerDram: self.world.free_dram,
            CloseDirect: self.world.close_direct,
            Dispatch: self.world.dispatch,
            Fail: lambda do: self.record.answer(do.operation, do.error.code),
            Complete: lambda do: self.record.answer(do.operation, "fulfilled"),
            LeaseGranted: self._granted,
            LeaseLost: self._lost,
        }

    def run(self, count: int = 0, seconds: float = 0.0) -> None:
        """Run for ``count`` events and ``seconds`` seconds, then check that everything winds down.

        Raises:
            Violation: the scheduler broke a rule; the message shows the last events.
        """
        try:
            self.clients.register_all()
            self._sample()
            while self.fed < count or self.world.now < seconds:
                self._step()
            self._wind_down()
        except Exception as problem:
            problem_text = problem if isinstance(problem, Violation) else repr(problem)
            raise Violation(
                f"{problem_text}\nafter {self.fed} events, the last ones:\n{self.journal}"
            ) from problem

    def feed(self, event: Event) -> None:
        """Let the scheduler handle an event, execute its instructions, and check the invariants."""
        self.fed += 1
        self.allowed.prepare(event)
        self.invariants.prepare(event)
        instructions = self.brain.handle(event, self.world.now)
        self.journal.add(self.world.now, event, instructions)
        for do in instructions:
            self.allowed.check(do)
            if type(do) in self._carry_out:
                self._carry_out[type(do)](do)
        self.invariants.check(event, instructions)

    def _granted(self, do: LeaseGranted) -> None:
        lease = self.record.answer(do.lease, "granted")
        lease.worker = do.instance
        self.clients.granted(lease)

    def _lost(self, do: LeaseLost) -> None:
        self.record.held[do.lease].worker = None

    # Time

    def _step(self) -> None:
        """Advance to the next timer, event of the machine, or action of a client."""
        world, clients_at = self.world, self.world.now + self._pause()
        when = min(world.next_at, self.brain.wakeup, clients_at)
        world.now = max(world.now, when)
        if world.chance(world.conditions.sleeps):  # the whole machine was suspended
            world.now += self.random.choice((1.0, 60.0, 1e6))
        if self.layout.unreliable and world.chance(DRIVER_ACTS):
            self.drivers.act()
        if self.brain.wakeup <= world.now and self.random.random() < 0.9:
            self.feed(events.TimerFired())
        elif world.next_at <= world.now:
            world.run_next()
        elif clients_at <= world.now:
            self.clients.act()
        elif self.random.random() < 0.1:  # firing too early does no harm
            self.feed(events.TimerFired())

    def _pause(self) -> float:
        return self.random.expovariate(self.layout.arrivals)

    def _sample(self) -> None:
        """Sample the memory of the devices once a second while that may change something."""
        if self.brain.loader.pending or self.world.failed_at:
            self.world.sample()
        self.world.later(SAMPLE_SECONDS, self._sample)

    # Winding down

    def _wind_down(self) -> None:
        """Cancel everything that is open: everything gets an answer, and no state is left over."""
        self.world.foreign = dict.fromkeys(self.world.foreign, 0)
        self.world.foreign_dram = 0
        if self.layout.unreliable:
            self.drivers.recover()
        self._advance(1000.0)
        waiting = [
            operation
            for operation in self.record.open.values()
            if operation.deadline < self.world.now
        ]
        ensure(not waiting, "waits forever", *waiting)
        for number in sorted(self.record.open):
            self.feed(events.RequestCancelled(number))
        self.clients.remove_all()
        self._advance(1000.0)
        ensure(not self.record.open, "waits forever", *self.record.open.values())
        ensure(not leftovers(self.brain), "kept state", *leftovers(self.brain)[:5])

    def _advance(self, seconds: float) -> None:
        end = self.world.now + seconds
        while min(self.world.next_at, self.brain.wakeup) < end:
            self.world.now = max(self.world.now, min(self.world.next_at, self.brain.wakeup))
            if self.brain.wakeup <= self.world.now:
                self.feed(events.TimerFired())
            else:
                self.world.run_next()
