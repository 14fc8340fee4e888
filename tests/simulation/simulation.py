"""One run: a brain, a world and people, from a seed; the same seed is the same run."""

from random import Random

from sired.scheduler import events
from sired.scheduler.brain import Brain
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
from tests.simulation.allowed import Allowed
from tests.simulation.invariants import Invariants
from tests.simulation.journal import Journal
from tests.simulation.leftovers import leftovers
from tests.simulation.people import People, some_rules, some_strategies
from tests.simulation.record import Broken, Record, must
from tests.simulation.world import Fate, World

SAMPLE_SECONDS = 1.0


class Simulation:
    """Drives a brain on a made-up machine until it has seen so many events."""

    def __init__(self, layout, seed, fate=Fate(), rules=None, people=People):
        self.random = random = Random(seed)
        self.layout, self.now, self.fed = layout, 0.0, 0
        strategy, router = some_strategies(random)
        rules = rules or some_rules(random)
        self.brain = Brain(layout.accounts(), strategy, rules, router, layout.dram)
        self.record = Record()
        self.world = World(random, fate, self.record, dict(layout.devices), layout.dram)
        self.world.tell = self.tell
        self.people = people(random, layout, self.brain, self.world, self.record, self.tell)
        self.allowed = Allowed(self.brain, self.world, self.record)
        self.invariants = Invariants(self.brain, self.world, self.record)
        self.journal = Journal()
        self._carry_out = {
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

    def run(self, count=0, seconds=0.0):
        """Live through so many events and seconds, then see that all comes to an end.

        Raises:
            Broken: the brain did what it never may do; the message shows the last events.
        """
        try:
            self.people.register_all()
            self._sample()
            while self.fed < count or self.world.now < seconds:
                self._step()
            self._come_to_an_end()
        except Exception as problem:
            told = problem if isinstance(problem, Broken) else repr(problem)
            raise Broken(
                f"{told}\nafter {self.fed} events, the last ones:\n{self.journal}"
            ) from problem

    def tell(self, event):
        """Let the brain handle an event, do what it says, and see that all is well."""
        self.fed += 1
        self.allowed.prepare(event)
        self.invariants.prepare(event)
        said = self.brain.handle(event, self.world.now)
        self.journal.note(self.world.now, event, said)
        for do in said:
            self.allowed.look(do)
            if type(do) in self._carry_out:
                self._carry_out[type(do)](do)
        self.invariants.check(event, said)

    def _granted(self, do):
        lease = self.record.answer(do.lease, "granted")
        lease.worker = do.instance
        self.people.granted(lease)

    def _lost(self, do):
        self.record.held[do.lease].worker = None

    # Time

    def _step(self):
        """Let something happen: an alarm, something in the world, or something people do."""
        world, people_at = self.world, self.world.now + self._pause()
        when = min(world.next_at, self.brain.wakeup, people_at)
        world.now = max(world.now, when)
        if world.chance(world.fate.sleeps):  # the whole machine did
            world.now += self.random.choice((1.0, 60.0, 1e6))
        if self.brain.wakeup <= world.now and self.random.random() < 0.9:
            self.tell(events.TimerFired())
        elif world.next_at <= world.now:
            world.happen()
        elif people_at <= world.now:
            self.people.act()
        elif self.random.random() < 0.1:  # waking too early does no harm
            self.tell(events.TimerFired())

    def _pause(self):
        return self.random.expovariate(self.layout.arrivals)

    def _sample(self):
        """Look how full the devices are once a second, as the daemon does."""
        if self.brain.loader.pending:
            self.world.sample()
        self.world.later(SAMPLE_SECONDS, self._sample)

    # The end

    def _come_to_an_end(self):
        """Nobody wants anything any more: everything is answered, and nothing is left over."""
        self.world.foreign = dict.fromkeys(self.world.foreign, 0)
        self.world.foreign_dram = 0
        self._let_pass(1000.0)
        waiting = [asked for asked in self.record.open.values() if asked.deadline < self.world.now]
        must(not waiting, "waits for ever", *waiting)
        for number in sorted(self.record.open):
            self.tell(events.RequestCancelled(number))
        self.people.remove_all()
        self._let_pass(1000.0)
        must(not self.record.open, "waits for ever", *self.record.open.values())
        must(not leftovers(self.brain), "remembers", *leftovers(self.brain)[:5])

    def _let_pass(self, seconds):
        end = self.world.now + seconds
        while min(self.world.next_at, self.brain.wakeup) < end:
            self.world.now = max(self.world.now, min(self.world.next_at, self.brain.wakeup))
            if self.brain.wakeup <= self.world.now:
                self.tell(events.TimerFired())
            else:
                self.world.happen()
