"""Thirty models on a device that holds five, clients and jobs, and processes killed at random.

1. Clients ask models whose popularity falls off as Zipf says, half of them in JSON over the daemon,
   half with arrays, who may get direct connections. Beside them jobs are submitted.
2. Meanwhile workers are killed, and in a long soak the daemon, too.
3. Every answer is checked: it is the input times the mean of a table that only that model has.
4. What was killed may fail the requests it was at, and nothing else may fail.
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from sire import ModelManager
from sire.errors import DaemonUnavailable, DeadlineExceeded, SireError, WorkerCrashed
from sire.protocol.replies import InstanceList, StatsReport
from sire.protocol.requests import Health, Predict, Ps, Stats
from tests.endurance.counters import SoakCounters
from tests.home import Home

MODELS, FIT, CLIENTS = 30, 5, 8
DEADLINE_SECONDS = 30.0
# What a client may take beyond it to learn that the time is over.
SLACK_SECONDS = 5.0
JOBS_UNDER_WAY = 20
CLASS = """
import torch


class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.empty(256, 256))

    def forward(self, x):
        return x * self.table.mean()
"""
CONFIGURATION = f"""
[devices.small]
kind = "cpu"
memory = "{FIT * 100}MB"
"""
POPULARITY = [1 / (place + 1) for place in range(MODELS)]


def prepare(home: Home, directory: Path) -> None:
    """Write the models, a quarter of a megabyte each, and register them."""
    home.configure(CONFIGURATION)
    (directory / "table.py").write_text(CLASS)
    with ModelManager(home=home.path) as manager:
        for number in range(MODELS):
            file = directory / f"{number}.safetensors"
            save_file({"table": torch.full((256, 256), float(number + 1))}, file)
            kind = f"{directory}/table.py:Table"
            manager.register_model(f"m{number}", file, model_class=kind, max_memory="100MB")


class Soak:
    """One soak of a daemon that is prepared.

    Args:
        home: of the daemon.
        seed: of everything that is left to chance.
        kill_workers: seconds between the deaths of workers, on average.
        kill_daemon: the same of the daemon; None for never.
    """

    def __init__(
        self, home: Home, seed: int, *, kill_workers: float, kill_daemon: float | None = None
    ) -> None:
        self.counters = SoakCounters()
        self._home = home
        self._seed = seed
        self._kill_workers = kill_workers
        self._kill_daemon = kill_daemon
        self._over = threading.Event()
        self._counting = threading.Lock()
        self._killing_daemon = threading.Lock()
        self._late_jobs: list[tuple[str, list[float]]] = []
        self._manager = ModelManager(home=home.path)

    def run(
        self,
        seconds: float,
        say: Callable[[str], None] = lambda _: None,
        enough: Callable[[SoakCounters], bool] = lambda _: False,
    ) -> SoakCounters:
        """Let it run for ``seconds`` or until ``enough`` has happened.

        Args:
            seconds: how long it runs at most.
            say: is given the counters every ten seconds.
            enough: is asked every second.

        Returns:
            What came of it.
        """
        threads = [
            threading.Thread(target=self._go_on, args=(do, random.Random(f"{self._seed} {number}")))
            for number, do in enumerate(self._doing())
        ]
        for thread in threads:
            thread.start()
        told = time.monotonic()
        end = told + seconds
        while (left := end - time.monotonic()) > 0:
            self._over.wait(min(1.0, left))
            if enough(self._so_far()):
                break
            if time.monotonic() > told + 10:
                told = time.monotonic()
                say(f"{self.counters}\n")
        self._over.set()
        for thread in threads:
            thread.join(3 * DEADLINE_SECONDS)
            if thread.is_alive():
                self._count(unexpected={f"{thread.name} never came back": 1})
        self._count(jobs_lost=sum(not self._read(*job) for job in self._late_jobs))
        with self._manager as manager:
            self.counters.evictions += sum(self._statistics(manager))
        return self.counters

    def _doing(self) -> list[Callable[[random.Random], None]]:
        """What each thread does again and again."""
        ask = [self._ask_in_json if n % 2 else self._ask_with_arrays for n in range(CLIENTS)]
        kill = [self._kill_the_daemon] if self._kill_daemon else []
        return [*ask, self._submit, self._kill_a_worker, *kill]

    def _go_on(self, do: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._over.is_set():
            try:
                do(chance)
            except Exception as problem:
                self._count(unexpected={f"{type(problem).__name__}: {problem}"[:200]: 1})

    def _count(self, **more: object) -> None:
        with self._counting:
            for name, value in more.items():
                if isinstance(value, dict):
                    self.counters.unexpected.update(value)
                else:
                    setattr(self.counters, name, getattr(self.counters, name) + value)

    # Clients

    def _ask_with_arrays(self, chance: random.Random) -> None:
        number, values = self._draw(chance)
        data = np.array(values, dtype=np.float32)
        self._ask(
            lambda: self._manager.predict(f"m{number}", data, timeout=DEADLINE_SECONDS).tolist(),
            [value * (number + 1) for value in values],
        )

    def _ask_in_json(self, chance: random.Random) -> None:
        number, values = self._draw(chance)
        request = Predict(model=f"m{number}", timeout=DEADLINE_SECONDS)

        def ask() -> list[float]:
            with self._manager._connection() as connection:
                _, frames = connection.ask(request, [json.dumps(values).encode()])
            answer: list[float] = json.loads(bytes(frames[0]))
            return answer

        self._ask(ask, [value * (number + 1) for value in values])

    def _ask(self, ask: Callable[[], list[float]], expected: list[float]) -> None:
        began, daemons = time.monotonic(), self.counters.daemons_killed
        try:
            right = np.ravel(ask()).tolist() == expected
        except WorkerCrashed:
            self._count(excused=1)
        except DaemonUnavailable as problem:
            self._lost_daemon(problem, daemons)
        except DeadlineExceeded:
            self._count(late=1)
        else:
            self._count(answered=1, wrong=int(not right))
        took = time.monotonic() - began
        self.counters.slowest_seconds = max(self.counters.slowest_seconds, took)
        if took > DEADLINE_SECONDS + SLACK_SECONDS:
            self._count(late=1)

    def _lost_daemon(self, problem: DaemonUnavailable, before: int) -> None:
        """A daemon that we killed may lose what it was asked."""
        with self._killing_daemon:
            killed = self.counters.daemons_killed > before
        if killed:
            self._count(excused=1)
        else:
            self._count(unexpected={f"DaemonUnavailable: {problem}"[:200]: 1})

    # Jobs

    def _submit(self, chance: random.Random) -> None:
        """Submit a few, wait for all of them, look at what became of each."""
        expected: dict[str, list[float]] = {}
        for _ in range(chance.randint(1, JOBS_UNDER_WAY)):
            number, values = self._draw(chance)
            daemons = self.counters.daemons_killed
            try:
                data = np.array(values, dtype=np.float32)
                job = self._manager.submit(f"m{number}", data)
            except DaemonUnavailable as problem:
                self._lost_daemon(problem, daemons)
            else:
                expected[job] = [value * (number + 1) for value in values]
                self._count(jobs_submitted=1)
        # Where daemons die all the time a job may have to wait until that is over.
        self._late_jobs += [job for job in expected.items() if not self._read(*job)]

    def _read(self, job: str, expected: list[float]) -> bool:
        """Wait for a job and look at its answer; False if there is none yet."""
        end = time.monotonic() + 2 * DEADLINE_SECONDS
        while time.monotonic() < end:
            try:
                self._manager.wait_job(job, DEADLINE_SECONDS)
                right = self._manager.job_result(job).ravel().tolist() == expected
            except WorkerCrashed:
                self._count(jobs_excused=1)
                return True
            except (DeadlineExceeded, DaemonUnavailable):
                continue  # the next daemon has it, too
            except SireError as problem:
                self._count(unexpected={f"job: {type(problem).__name__}: {problem}"[:200]: 1})
                return False
            self._count(jobs_answered=1, jobs_wrong=int(not right))
            return True
        return False

    # Deaths

    def _kill_a_worker(self, chance: random.Random) -> None:
        self._over.wait(chance.expovariate(1 / self._kill_workers))
        with suppress(DaemonUnavailable), self._manager._connection() as connection:
            there = connection.expect(InstanceList, Ps()).instances
            pids = [instance.pid for instance in there if instance.pid]
            if pids:
                # Counted first: who is told of it finds it counted.
                self._count(workers_killed=1)
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)

    def _kill_the_daemon(self, chance: random.Random) -> None:
        assert self._kill_daemon is not None
        if self._over.wait(chance.expovariate(1 / self._kill_daemon)):
            return
        with suppress(DaemonUnavailable), self._killing_daemon:
            with self._manager._connection() as connection:
                connection.ask(Health())
            self.counters.evictions += sum(self._statistics(self._manager))
            daemon = psutil.Process(self._home.pid())
            daemon.kill()
            # Counted once it is gone: until then it may fail those who come.
            daemon.wait(DEADLINE_SECONDS)
            self._count(daemons_killed=1)

    def _so_far(self) -> SoakCounters:
        """The counters, with the evictions of the daemon that runs now."""
        with suppress(DaemonUnavailable):
            evictions = self.counters.evictions + sum(self._statistics(self._manager))
            return replace(self.counters, evictions=evictions)
        return self.counters

    def _statistics(self, manager: ModelManager) -> list[int]:
        with manager._connection() as connection:
            return [model.evictions for model in connection.expect(StatsReport, Stats()).models]

    def _draw(self, chance: random.Random) -> tuple[int, list[float]]:
        """A model, and an input for it whose answer has no rounding."""
        (number,) = chance.choices(range(MODELS), POPULARITY)
        return number, numbers(chance)


def numbers(chance: random.Random) -> list[float]:
    """An input whose products with small whole numbers have no rounding."""
    return [float(chance.randint(-1000, 1000)) for _ in range(4)]
