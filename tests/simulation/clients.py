"""Random actions of clients: request, cancel, load, unload, lease, register, reconfigure."""

from collections.abc import Callable
from functools import partial
from random import Random

from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.policies.eviction import BUILT_IN as POLICIES
from sired.scheduler.policies.placement import BUILT_IN as STRATEGIES
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import BUILT_IN as ROUTERS
from sired.scheduler.policies.routing import Router
from sired.scheduler.rules import Rules
from tests.simulation.layouts import Layout
from tests.simulation.record import Operation, Record
from tests.simulation.world import World

YEAR = 365 * 86400.0
# Seconds; jobs wait for as long as it takes, scripts for seconds, some clients for much less.
LONGEST_STANDSTILL = 5.0
PATIENCE = (0.05, 1.0, 10.0, 10.0, YEAR)


def some_rules(random: Random) -> Rules:
    """Random rules, as a user may configure them."""
    return Rules(
        overhead={"cpu": 0, "cuda": 2},
        file_factor=1.0,
        pipeline=2,
        queue_per_model=random.choice((5, 50)),
        queue_total=random.choice((20, 100)),
        ageing=random.choice((0.0, 0.5, 10.0)),
        patience=random.choice((0.0, 0.1, 1.0, 3.0)),
        turn_requests=random.choice((1, 10, 1000)),
        max_models=random.choice((0, 0, 2, 3)),
        most_instances=random.choice((1, 3, 8)),
        shrink_after=random.choice((0.5, 30.0)),
        load_timeout=random.choice((2.0, LONGEST_STANDSTILL)),
        hung_after=random.choice((0.5, 2.0)),
        eviction=random.choice(list(POLICIES.values())),
        default_keep_alive=random.choice((0.0, 2.0, 300.0)),
    )


def some_strategies(random: Random) -> tuple[Strategy, Router]:
    """A random placement and routing strategy."""
    return random.choice(list(STRATEGIES.values())), random.choice(list(ROUTERS.values()))


class Clients:
    """Performs random actions, each with the given weight."""

    def __init__(
        self,
        random: Random,
        layout: Layout,
        brain: Brain,
        world: World,
        record: Record,
        feed: Callable[[Event], None],
    ) -> None:
        self.random, self.layout = random, layout
        self.brain, self.world, self.record, self.feed = brain, world, record, feed
        self.names = [f"m{number}" for number in range(layout.models)]
        self._actions = {
            self.request: 60,
            self.request_under_lease: 8,
            self.request_directly: 15,
            self.cancel: 5,
            self.load: 5,
            self.unload: 2,
            self.put_to_sleep: 2,
            self.acquire: 6,
            self.release_early: 0.5,
            self.shrink: 1.5,
            self.register: 0.7,
            self.remove: 0.4,
            self.pin: 0.7,
            self.keep: 0.7,
            self.kill_a_worker: 1,
            self.use_memory: 3,
            self.reconfigure: 0.3,
        }

    def act(self) -> None:
        """Perform one action."""
        (action,) = self.random.choices(list(self._actions), list(self._actions.values()))
        action()

    def register_all(self) -> None:
        for name in self.names:
            self.feed(events.ModelAdded(self.layout.model(self.random, name)))

    def remove_all(self) -> None:
        for name in list(self.brain.models):
            self.feed(events.ModelRemoved(name))

    # Requests

    def request(self, lease: int | None = None, model: str | None = None) -> None:
        now, random = self.world.now, self.random
        model = model or self._name()
        priority = random.choice((None, None, "high", "normal", "low"))
        known = self.brain.models.get(model)
        slot = known is not None and not known.pipelined and random.random() < 0.3
        operation = self.record.begin(
            "request",
            model,
            now,
            now + random.choice(PATIENCE),
            priority or (known.priority if known else "normal"),
            self.brain.rules.ageing,
            key=None if slot else random.choice((None, "a", "a", "b")),
            rows=random.randint(1, 3),
            lease=lease,
            slot=slot,
        )
        if slot:
            self.world.later(random.choice((0.1, 5.0)), partial(self._give_up, operation.number))
        keep_alive = random.choice((None, None, None, 0.0, 1.0))
        self.feed(
            events.RequestArrived(
                operation.number,
                model,
                operation.deadline,
                priority,
                lease,
                operation.key,
                operation.rows,
                keep_alive,
                slot=slot,
            )
        )

    def request_under_lease(self) -> None:
        if self.record.held:
            lease = self.random.choice(list(self.record.held.values()))
            self.request(lease.number, lease.model)

    def request_directly(self) -> None:
        """Send a request over a direct connection, if the scheduler allows one."""
        instance = self.brain.direct.instance(self._name())
        if instance is None:
            return
        worker = self.world.workers[instance.id]
        if not worker.direct:
            worker.direct = True
            self.feed(events.DirectOpened(instance.id))
        self.world.work_directly(worker)

    def _give_up(self, number: int) -> None:
        if number in self.record.open:
            self.feed(events.RequestCancelled(number))

    def cancel(self) -> None:
        waiting = self.record.numbers("request", "load", "lease")
        if waiting:
            number = self.random.choice(sorted(waiting))
            self.feed(events.RequestCancelled(number))

    # Instances

    def load(self) -> None:
        self.world.sample()
        now = self.world.now
        device = self.random.choice((None, "auto", *self.world.devices, "tpu"))
        patient = self.random.random() < 0.5
        deadline = now + self.random.choice(PATIENCE)
        operation = self.record.begin("load", self._name(), now, deadline, patient=patient)
        self.feed(
            events.LoadRequested(
                operation.number, operation.model, device, operation.deadline, patient
            )
        )

    def unload(self) -> None:
        operation = self.record.begin("unload", self._name(), self.world.now)
        self.feed(events.UnloadRequested(operation.number, operation.model))

    def put_to_sleep(self) -> None:
        """Put a model to sleep; wait for as long as it takes."""
        operation = self.record.begin("sleep", self._name(), self.world.now)
        self.feed(
            events.SleepRequested(operation.number, operation.model, self.world.now + 100 * YEAR)
        )

    def shrink(self) -> None:
        model = self.random.choice((None, self._name()))
        operation = self.record.begin("shrink", model or "", self.world.now)
        keep = self.random.choice((None, 0, 1, 2))
        self.feed(events.ShrinkRequested(operation.number, model, keep))

    def acquire(self) -> None:
        now, destroy = self.world.now, self.random.random() < 0.3
        deadline = now + self.random.choice(PATIENCE)
        operation = self.record.begin("lease", self._name(), now, deadline, destroy=destroy)
        self.feed(events.LeaseRequested(operation.number, operation.model, deadline, destroy))

    def granted(self, lease: Operation) -> None:
        """Release a granted lease after a random time."""
        self.record.held[lease.number] = lease
        seconds = self.random.choice((0.0, 0.1, 1.0, 5.0))
        self.world.later(seconds, partial(self._release, lease))

    def release_early(self) -> None:
        """Release a lease that was not granted yet, as when its client is gone."""
        waiting = self.record.numbers("lease")
        if waiting:
            self.feed(events.LeaseReturned(self.random.choice(sorted(waiting))))

    def _release(self, lease: Operation) -> None:
        self.record.held.pop(lease.number, None)
        self.feed(events.LeaseReturned(lease.number))

    # The machine and its configuration

    def register(self) -> None:
        self.feed(events.ModelAdded(self.layout.model(self.random, self._name())))

    def remove(self) -> None:
        name = self._name()
        if name in self.brain.models:
            self.feed(events.ModelRemoved(name))

    def pin(self) -> None:
        name = self._name()
        if name in self.brain.models:
            self.feed(events.ModelPinned(name, pinned=self.random.random() < 0.3))

    def keep(self) -> None:
        self.feed(events.ModelsKept(frozenset(filter(lambda _: self._rarely(), self.names))))

    def _rarely(self) -> bool:
        return self.random.random() < 0.2

    def kill_a_worker(self) -> None:
        if self.world.workers:
            self.world.kill(self.random.choice(list(self.world.workers.values())))

    def use_memory(self) -> None:
        device = self.random.choice(list(self.world.devices))
        part = self.random.choice((0.0, 0.0, 0.1, 0.5, 1.0))
        self.world.foreign[device] = int(part * self.world.devices[device])
        self.world.foreign_dram = int(self.random.choice((0.0, 0.0, 0.3, 1.0)) * self.world.dram)
        self.world.sample()

    def reconfigure(self) -> None:
        self.brain.adopt(some_rules(self.random), *some_strategies(self.random))
        self.feed(events.TimerFired())

    def _name(self) -> str:
        return self.random.choice(self.names)
