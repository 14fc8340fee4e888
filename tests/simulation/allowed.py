"""What the brain may say, one instruction at a time; whatever else it says is broken.

The world's own record decides, not what the brain believes.
"""

from sire.errors import DeadlineExceeded
from sired.scheduler import events
from sired.scheduler.instructions import (
    Complete,
    Dispatch,
    Evicted,
    Fail,
    FreeWorkerDram,
    LeaseGranted,
    LeaseLost,
    SleepWorker,
    StartWorker,
    StopWorker,
    WakeWorker,
)
from tests.simulation.record import must


class Allowed:
    """Looks at each instruction just before it is carried out."""

    def __init__(self, brain, world, record):
        self.brain, self.world, self.record = brain, world, record
        self._event = None
        self._kept: set[int] = set()
        self._evicted: set[int] = set()
        self._ending: dict[int, set[int]] = {}
        self._look = {
            StartWorker: self._start,
            StopWorker: self._stop,
            SleepWorker: self._sleep,
            WakeWorker: self._wake,
            FreeWorkerDram: self._free_dram,
            Dispatch: self._dispatch,
            Evicted: self._evict,
            Fail: self._fail,
            Complete: self._complete,
            LeaseGranted: self._granted,
            LeaseLost: self._lost,
        }

    def prepare(self, event):
        """Note what the next instructions will be judged by."""
        self._event = event
        self._evicted.clear()
        instances = self.brain.fleet.instances.values()
        self._kept = {instance.id for instance in instances if instance.lease}
        for worker in self._asked_to_end(event):
            worker.asked_to_end = True
        if isinstance(event, events.UnloadRequested):
            self._ending[event.operation] = {worker.instance for worker in self._of(event.model)}

    def look(self, do):
        """Raise Broken unless this may be done now."""
        if type(do) in self._look:
            self._look[type(do)](do)

    def _of(self, model):
        return [w for w in self.world.workers.values() if model in (None, w.model.name)]

    def _asked_to_end(self, event):
        """The workers that somebody wants gone, although they may be pinned or leased."""
        match event:
            case events.ModelAdded():
                return self._of(event.model.name)
            case events.ModelRemoved() | events.UnloadRequested() | events.SleepRequested():
                return self._of(event.model)
            case events.LoadRequested() if event.device not in (None, "auto"):
                return [w for w in self._of(event.model) if w.device != event.device]
            case events.ShrinkRequested():
                return [w for w in self._of(event.model) if w.instance not in self._kept]
            case events.LeaseReturned():
                used = self.brain._leases._held.get(event.lease)
                destroyed = used is not None and used.destroy and used.granted
                return [self.world.workers[used.instance]] if destroyed else []
        return []

    # Starting and ending

    def _start(self, do):
        rules, name = self.brain.rules, do.model.name
        must(do.instance not in self.world.workers, "started twice", do)
        must(self.brain.models.get(name) is do.model, "started a model nobody can ask for", do)
        there = [w for w in self._of(name) if w.model is do.model and w.state != "ending"]
        must(there or self.wanted(name), "loads for nobody", do)
        loaded = {worker.model for worker in self.world.workers.values()}
        most = rules.max_models
        must(not most or do.model in loaded or len(loaded) < most, "too many models", do)
        accepting = sum(i.accepting for i in self.brain.fleet.of(do.model))
        must(accepting <= self.brain.fleet.max_instances(do.model), "too many instances", do)

    def _stop(self, do):
        worker = self._known(do)
        if not worker.loaded:
            self._stop_loading(do, worker)
        elif self._ran_out(worker):
            self.record.put_back(worker.instance)
        elif worker.unanswered or worker.direct_busy:
            must(do.kill and self._hangs(worker), "ended at work", do, worker)
        else:
            self._stop_idle(do, worker)

    def _failed(self, do, worker):
        """Whether it could not load, fall asleep or wake, or has been at it for too long."""
        failures = (events.WorkerLoadFailed, events.SleepFailed)
        failed = isinstance(self._event, failures) and self._event.instance == do.instance
        return failed or self.world.now - worker.alive_at >= self.brain.rules.load_timeout

    def _stop_loading(self, do, worker):
        unwanted = not self.wanted(worker.model.name)
        reason = self._failed(do, worker) or unwanted or worker.asked_to_end
        must(reason, "ended a load that somebody waits for", do, worker)

    def _stop_idle(self, do, worker):
        leased = any(lease.worker == do.instance for lease in self.record.held.values())
        must(worker.asked_to_end or not leased, "ended a leased one", do, worker)
        # Of a pool that is pinned those beyond its least number may end, for want of use.
        others = any(i.accepting for i in self.brain.fleet.of(worker.model))
        changes = worker.state in ("falling asleep", "waking", "dead")
        failed = changes and self._failed(do, worker)
        failed = failed or self._exceeds(do, worker)
        may_end = not worker.model.pinned or worker.asked_to_end or failed
        must(may_end or (others and do.instance not in self._evicted), "ended a pinned one", do)

    def _exceeds(self, do, worker):
        """Whether its load has just taken more than was declared for its model."""
        ready = isinstance(self._event, events.WorkerReady) and self._event.instance == do.instance
        most = worker.model.declared
        return ready and most is not None and self._event.memory > most

    # Tiers

    def _sleep(self, do):
        worker = self._known(do)
        must(worker.state in ("ready", "dead") and worker.loaded, "puts to sleep", worker)
        must(not worker.unanswered, "puts to sleep at work", worker)
        must(not worker.direct_busy, "puts to sleep at work", worker)
        must(worker.sleep_memory and not worker.freeing, "puts to sleep what cannot", worker)
        leased = any(lease.worker == do.instance for lease in self.record.held.values())
        names = {self.record.open[number].model for number in self.record.numbers("sleep")}
        asked = worker.asked_to_end or worker.model.name in names
        must(asked or not (leased or worker.model.pinned), "puts to sleep", worker)
        dram = self.brain.fleet.ledger.dram
        must(dram.charged <= dram.capacity, "puts to sleep beyond main memory", worker)

    def _free_dram(self, do):
        worker = self._known(do)
        awake = worker.state in ("ready", "dead") and worker.in_dram
        must(awake and not worker.freeing, "takes main memory from", worker)

    def _wake(self, do):
        worker = self._known(do)
        must(worker.state in ("asleep", "dead") and worker.in_dram, "wakes", worker)
        there = [w for w in self._of(worker.model.name) if w.model is worker.model]
        pool = any(w.state in ("ready", "dead") and w is not worker for w in there)
        must(pool or self.wanted(worker.model.name), "wakes for nobody", worker)
        accepting = sum(i.accepting for i in self.brain.fleet.of(worker.model))
        must(accepting <= self.brain.fleet.max_instances(worker.model), "too many awake", do)

    def _evict(self, do):
        worker = self._known(do)
        self._evicted.add(do.instance)
        must(not worker.model.pinned, "evicts a pinned one", do, worker)
        frees = (
            events.LeaseReturned,
            events.RequestCancelled,
            events.TimerFired,
            events.ModelRemoved,
        )
        kept = do.instance in self._kept and not isinstance(self._event, frees)
        must(not kept, "evicts a leased one", do, worker)
        loading = not worker.loaded and self.wanted(worker.model.name)
        must(not loading, "evicts one that loads", do, worker)

    def _ran_out(self, worker):
        event = self._event
        finished = isinstance(event, events.RequestFinished) and event.out_of_memory
        return finished and event.instance == worker.instance

    def _hangs(self, worker):
        """Nobody waits any more for what it works on: the brain killed it for that."""
        if worker.abandoned_at + self.brain.rules.hung_after <= self.world.now:
            return True
        at_work = worker.line[0] if worker.line else ()
        return bool(at_work) and not any(number in self.record.open for number in at_work)

    # Requests

    def _dispatch(self, do):
        worker, asked = self._known(do), [self.record.open.get(n) for n in do.requests]
        must(all(asked), "hands out what was answered", do)
        must(not any(a.worker for a in asked), "hands out twice", do)
        must(worker.state in ("ready", "dead") and worker.loaded, "hands to", worker, do)
        must(all(a.model == worker.model.name for a in asked), "hands to another model", do)
        must(len(worker.line) < self.brain.rules.pipeline, "hands out too much", do)
        self._look_at_lease(do, asked)
        self._look_at_batch(do, worker.model, asked)
        first = self.record.waiting(asked[0].model, asked[0].lease)[0]
        must(asked[0] is first, "hands out of turn", do, first)

    def _look_at_lease(self, do, asked):
        held = [n for n, lease in self.record.held.items() if lease.worker == do.instance]
        theirs = held[0] if held else None
        must(all(a.lease == theirs for a in asked), "hands to one that is leased", do, theirs)

    def _look_at_batch(self, do, model, asked):
        if len(asked) > 1:
            keys = {a.key for a in asked}
            must(len(keys) == 1 and None not in keys, "mixes in one batch", do, keys)
            must(sum(a.rows for a in asked) <= model.batch_size, "too large a batch", do)
            order = [a.order for a in asked]
            must(order == sorted(order), "a batch out of order", do)

    # Answers

    def _fail(self, do):
        asked = self.record.open.get(do.operation)
        early = isinstance(do.error, DeadlineExceeded) and asked and asked.deadline > self.world.now
        must(not early, "too late before its time", do, asked)
        if "models in memory at once" in do.error.message:
            pinned = {worker.model for worker in self.world.workers.values() if worker.model.pinned}
            must(len(pinned) >= self.brain.rules.max_models, "there is a place left", do)

    def _complete(self, do):
        asked = self.record.open.get(do.operation)
        must(
            asked is None or asked.kind in ("load", "unload", "shrink", "sleep"),
            "fulfils no wish",
            do,
        )
        left = self._ending.pop(do.operation, set()) & self.world.workers.keys()
        must(not left, "unloaded before its memory is free", do, left)
        if asked and asked.kind == "load":
            worker = self.world.workers.get(do.instance)
            must(worker is not None and worker.state in ("ready", "dead"), "not loaded", do)
        if asked and asked.kind == "sleep":
            worker = self.world.workers.get(do.instance)
            must(worker is not None and worker.state in ("asleep", "dead"), "not asleep", do)

    def _granted(self, do):
        worker = self.world.workers.get(do.instance)
        must(worker is not None and worker.state in ("ready", "dead"), "leases what is not", do)
        must(not worker.unanswered, "leases one at work", do, worker)
        must(not worker.direct_busy, "leases one at work", do, worker)
        taken = any(lease.worker == do.instance for lease in self.record.held.values())
        must(not taken, "leases what is leased", do)

    def _lost(self, do):
        lease = self.record.held.get(do.lease)
        must(lease is not None and lease.worker is not None, "loses what nobody holds", do)

    # The record

    def _known(self, do):
        must(do.instance in self.world.workers, "an instruction for a dead instance", do)
        worker = self.world.workers[do.instance]
        must(worker.state != "ending", "an instruction for one that ends", do)
        return worker

    def wanted(self, model):
        """Whether anybody waits for an instance of a model."""
        leases = self.brain.queues.leases.values()
        unserved = {lease.id for lease in leases if lease.instance is None}
        return any(
            asked.model == model
            and asked.worker is None
            and (
                (asked.kind == "request" and asked.lease is None)
                or asked.kind == "load"
                or (asked.kind == "sleep" and asked.number in self.brain.queues.operations)
                or (asked.kind == "lease" and asked.number in unserved)
            )
            for asked in self.record.open.values()
        )
