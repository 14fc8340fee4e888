"""What people do to a daemon, at random: ask, give up, load, unload, lease, register, change."""

from functools import partial

from sired.scheduler import events
from sired.scheduler.policies.eviction import BUILT_IN as POLICIES
from sired.scheduler.policies.placement import BUILT_IN as STRATEGIES
from sired.scheduler.policies.routing import BUILT_IN as ROUTERS
from sired.scheduler.rules import Rules

YEAR = 365 * 86400.0
# A job waits as long as it takes; a script seconds; an impatient one much less.
LONGEST_STANDSTILL = 5.0
PATIENCE = (0.05, 1.0, 10.0, 10.0, YEAR)


def some_rules(random):
    """Rules as somebody may configure them."""
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


def some_strategies(random):
    """A placement and a routing strategy."""
    return random.choice(list(STRATEGIES.values())), random.choice(list(ROUTERS.values()))


class People:
    """Does one thing after the other, each as likely as its number says."""

    def __init__(self, random, layout, brain, world, record, tell):
        self.random, self.layout = random, layout
        self.brain, self.world, self.record, self.tell = brain, world, record, tell
        self.names = [f"m{number}" for number in range(layout.models)]
        self._habits = {
            self.ask: 60,
            self.ask_as_holder: 8,
            self.ask_directly: 15,
            self.give_up: 5,
            self.load: 5,
            self.unload: 2,
            self.put_to_sleep: 2,
            self.acquire: 6,
            self.give_back_early: 0.5,
            self.shrink: 1.5,
            self.register: 0.7,
            self.remove: 0.4,
            self.kill_a_worker: 1,
            self.use_memory: 3,
            self.reconfigure: 0.3,
        }

    def act(self):
        """Do something."""
        (habit,) = self.random.choices(list(self._habits), list(self._habits.values()))
        habit()

    def register_all(self):
        for name in self.names:
            self.tell(events.ModelAdded(self.layout.model(self.random, name)))

    def remove_all(self):
        for name in list(self.brain.models):
            self.tell(events.ModelRemoved(name))

    # Requests

    def ask(self, lease=None, model=None):
        now, random = self.world.now, self.random
        model = model or self._name()
        priority = random.choice((None, None, "high", "normal", "low"))
        known = self.brain.models.get(model)
        asked = self.record.ask(
            "request",
            model,
            now,
            now + random.choice(PATIENCE),
            priority or (known.priority if known else "normal"),
            self.brain.rules.ageing,
            key=random.choice((None, "a", "a", "b")),
            rows=random.randint(1, 3),
            lease=lease,
        )
        keep_alive = random.choice((None, None, None, 0.0, 1.0))
        self.tell(
            events.RequestArrived(
                asked.number,
                model,
                asked.deadline,
                priority,
                lease,
                asked.key,
                asked.rows,
                keep_alive,
            )
        )

    def ask_as_holder(self):
        if self.record.held:
            lease = self.random.choice(list(self.record.held.values()))
            self.ask(lease.number, lease.model)

    def ask_directly(self):
        """Talk to a worker, if the brain has nothing against it."""
        instance = self.brain.direct.instance(self._name())
        if instance is None:
            return
        worker = self.world.workers[instance.id]
        if not worker.direct:
            worker.direct = True
            self.tell(events.DirectOpened(instance.id))
        self.world.work_directly(worker)

    def give_up(self):
        waiting = self.record.numbers("request", "load", "lease")
        if waiting:
            number = self.random.choice(sorted(waiting))
            self.tell(events.RequestCancelled(number))

    # Instances

    def load(self):
        self.world.sample()
        now = self.world.now
        device = self.random.choice((None, "auto", *self.world.devices, "tpu"))
        patient = self.random.random() < 0.5
        deadline = now + self.random.choice(PATIENCE)
        asked = self.record.ask("load", self._name(), now, deadline, patient=patient)
        self.tell(events.LoadRequested(asked.number, asked.model, device, asked.deadline, patient))

    def unload(self):
        asked = self.record.ask("unload", self._name(), self.world.now)
        self.tell(events.UnloadRequested(asked.number, asked.model))

    def put_to_sleep(self):
        """By hand; they wait as long as it takes."""
        asked = self.record.ask("sleep", self._name(), self.world.now)
        self.tell(events.SleepRequested(asked.number, asked.model, self.world.now + 100 * YEAR))

    def shrink(self):
        model = self.random.choice((None, self._name()))
        asked = self.record.ask("shrink", model, self.world.now)
        keep = self.random.choice((None, 0, 1, 2))
        self.tell(events.ShrinkRequested(asked.number, model, keep))

    def acquire(self):
        now, destroy = self.world.now, self.random.random() < 0.3
        deadline = now + self.random.choice(PATIENCE)
        asked = self.record.ask("lease", self._name(), now, deadline, destroy=destroy)
        self.tell(events.LeaseRequested(asked.number, asked.model, deadline, destroy))

    def granted(self, lease):
        """Whoever was given a lease gives it back some time."""
        self.record.held[lease.number] = lease
        seconds = self.random.choice((0.0, 0.1, 1.0, 5.0))
        self.world.later(seconds, partial(self._give_back, lease))

    def give_back_early(self):
        """A holder that is gone may give back what it was never granted."""
        waiting = self.record.numbers("lease")
        if waiting:
            self.tell(events.LeaseReturned(self.random.choice(sorted(waiting))))

    def _give_back(self, lease):
        self.record.held.pop(lease.number, None)
        self.tell(events.LeaseReturned(lease.number))

    # The machine and its owner

    def register(self):
        self.tell(events.ModelAdded(self.layout.model(self.random, self._name())))

    def remove(self):
        name = self._name()
        if name in self.brain.models:
            self.tell(events.ModelRemoved(name))

    def kill_a_worker(self):
        if self.world.workers:
            self.world.kill(self.random.choice(list(self.world.workers.values())))

    def use_memory(self):
        device = self.random.choice(list(self.world.devices))
        part = self.random.choice((0.0, 0.0, 0.1, 0.5, 1.0))
        self.world.foreign[device] = int(part * self.world.devices[device])
        self.world.foreign_dram = int(self.random.choice((0.0, 0.0, 0.3, 1.0)) * self.world.dram)
        self.world.sample()

    def reconfigure(self):
        self.brain.adopt(some_rules(self.random), *some_strategies(self.random))
        self.tell(events.TimerFired())

    def _name(self):
        return self.random.choice(self.names)
