"""Everything at once, while daemon, zygote and workers are killed and stopped at random.

1. Six clients ask models that run in batches, in threads, in several instances and in parts. They
   ask one by one, many at once, in parts and by lease, reload models and move them to main memory.
   Two more submit jobs.
2. Meanwhile a daemon, a zygote or a worker is killed, or stopped and continued, all the time.
3. Every answer is checked. What was killed may fail the requests it was at; what was stopped for a
   while may fail nothing. No call takes longer than its deadline allows.
"""

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from sire import ModelManager
from sire.errors import Cancelled, DaemonUnavailable, InvalidInput, LoadFailed, SireError
from sire.protocol.requests import Reload
from tests.endurance.soak import CLASS, DEADLINE_SECONDS, Soak, numbers
from tests.home import Home

CONFIGURATION = """
[devices.small]
kind = "cpu"
memory = "1200MB"

[tiers]
dram = "900MB"
"""
STREAM = """
class Stream:
    def load(self, path):
        pass

    def predict(self, x):
        return [value * 6 for value in x.tolist()]

    def stream(self, x):
        for value in x.tolist():
            yield value * 6
"""
# By number; the answer of a model is its input times its number plus one.
OPTIONS: list[dict[str, Any]] = [
    {"batch_size": 8, "inputs": ["float32[-1,4]"]},
    {"concurrency": 4},
    {"instances": "1..2"},
    {},
    {"batch_size": 4, "concurrency": 2, "inputs": ["float32[-1,4]"]},
]
STREAMED = len(OPTIONS)
CLIENTS, SUBMITTERS = 6, 2
# Shorter than what a daemon may be silent, and a worker hang, before that is an error.
LONGEST_STOP_SECONDS = 3.0


def prepare(home: Home, directory: Path) -> None:
    """Write the models and register them."""
    home.configure(CONFIGURATION)
    (directory / "table.py").write_text(CLASS)
    (directory / "stream.py").write_text(STREAM)
    with ModelManager(home=home.path) as manager:
        for number, options in enumerate(OPTIONS):
            file = directory / f"{number}.safetensors"
            save_file({"table": torch.full((256, 256), float(number + 1))}, file)
            kind = f"{directory}/table.py:Table"
            manager.register_model(
                f"m{number}", file, model_class=kind, max_memory="300MB", **options
            )
        manager.register_model(
            f"m{STREAMED}",
            directory / "stream.py",
            "python",
            model_class=f"{directory}/stream.py:Stream",
            max_memory="300MB",
        )


class Chaos(Soak):
    """One run of a daemon that is prepared.

    Args:
        home: of the daemon.
        seed: of everything that is left to chance.
        every: seconds between two deaths or stops, on average.
    """

    def __init__(self, home: Home, seed: int, *, every: float = 2.0) -> None:
        super().__init__(home, seed, kill_workers=every, kill_daemon=10 * every)
        self._every = every

    def _doing(self) -> list[Callable[[random.Random], None]]:
        clients = [self._ask_somehow] * CLIENTS + [self._submit] * SUBMITTERS
        return [*clients, self._kill_a_worker, self._kill_the_daemon, self._stop_or_kill]

    def _draw(self, chance: random.Random) -> tuple[int, list[float]]:
        return chance.randrange(len(OPTIONS)), numbers(chance)

    def _ask_somehow(self, chance: random.Random) -> None:
        ways = [self._ask_in_json, self._ask_with_arrays, self._ask_many, self._ask_in_parts]
        way = chance.choices([*ways, self._lease, self._move], [4, 4, 2, 2, 1, 1])[0]
        way(chance)

    def _ask(self, ask: Callable[[], list[float]], expected: list[float]) -> None:
        """As in a soak; what another client unloads meanwhile, or a killed load, is excused."""

        def excused() -> list[float]:
            try:
                return ask()
            except (Cancelled, LoadFailed) as problem:
                raise DaemonUnavailable(str(problem)) from None

        super()._ask(ask if self._over.is_set() else excused, expected)

    def _lost_daemon(self, problem: DaemonUnavailable, before: int) -> None:
        if isinstance(problem.__context__, Cancelled | LoadFailed):
            self._count(excused=1)
        else:
            super()._lost_daemon(problem, before)

    def _ask_many(self, chance: random.Random) -> None:
        number, values = self._draw(chance)
        rows = [np.array([value] * 4, dtype=np.float32) for value in values]

        def ask() -> list[float]:
            answers = self._manager.predict_many(f"m{number}", rows, timeout=DEADLINE_SECONDS)
            return [float(np.ravel(answer)[0]) for answer in answers]

        self._ask(ask, [value * (number + 1) for value in values])

    def _ask_in_parts(self, chance: random.Random) -> None:
        values = numbers(chance)
        data = np.array(values, dtype=np.float32)
        self._ask(
            lambda: list(self._manager.stream(f"m{STREAMED}", data, timeout=DEADLINE_SECONDS)),
            [value * (STREAMED + 1) for value in values],
        )

    def _lease(self, chance: random.Random) -> None:
        number, values = self._draw(chance)
        data = np.array(values, dtype=np.float32)
        daemons = self.counters.daemons_killed

        def ask() -> list[float]:
            with self._manager.acquire(f"m{number}", timeout=DEADLINE_SECONDS) as leased:
                try:
                    answer: list[float] = leased.predict(data, DEADLINE_SECONDS / 2).tolist()
                except InvalidInput as problem:  # its lease went with the daemon that was killed
                    with self._killing_daemon:
                        if self.counters.daemons_killed == daemons:
                            raise
                    raise DaemonUnavailable(str(problem)) from None
                return answer

        self._ask(ask, [value * (number + 1) for value in values])

    def _move(self, chance: random.Random) -> None:
        """Reload a model, or move it to main memory; whether that succeeds is up to the others."""
        name = f"m{chance.randrange(len(OPTIONS))}"
        with suppress(SireError), self._manager._connection() as connection:
            if chance.random() < 0.5:
                connection.ask(Reload(name=name, timeout=DEADLINE_SECONDS), timeout=40)
            else:
                self._manager.move_model(name, "dram")

    def _stop_or_kill(self, chance: random.Random) -> None:
        """Stop the daemon, a worker or the zygote for a while, or kill the zygote."""
        if self._over.wait(chance.expovariate(1 / self._every)):
            return
        with suppress(psutil.Error, OSError, ValueError), self._killing_daemon:
            daemon = psutil.Process(self._home.pid())
            zygotes = daemon.children()
            victims = chance.choice([[daemon], zygotes, daemon.children(recursive=True)])
            victim = chance.choice(victims or [daemon])  # a young one has no children
            if victim in zygotes and chance.random() < 0.5:
                victim.kill()
                self._count(zygotes_killed=1)
                return
            os.kill(victim.pid, signal.SIGSTOP)
            self._count(stopped=1)
            try:
                self._over.wait(chance.uniform(0.1, LONGEST_STOP_SECONDS))
            finally:
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGCONT)
