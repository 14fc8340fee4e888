"""The simulated machines, and the kinds of models that are registered on them."""

from dataclasses import dataclass
from random import Random

from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model


@dataclass(frozen=True, slots=True)
class Layout:
    """A machine and its models; sizes in bytes, each model's drawn from ``sizes``.

    Attributes:
        pools: the maximum numbers of instances to choose from; None for no limit.
        arrivals: actions of clients per second.
        dram: main memory reserved for sleeping models.
        later: GPUs that appear while the machine runs.
        unreliable: GPUs vanish, and their driver answers late, falsely or not at all.
        groups: the limits on memory of groups, to one of which a model may belong.
    """

    devices: tuple[tuple[str, int], ...]
    models: int
    sizes: tuple[int, ...]
    pools: tuple[int | None, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    arrivals: float = 30.0
    dram: int = 0
    groups: tuple[tuple[str, int], ...] = ()
    later: tuple[tuple[str, int], ...] = ()
    unreliable: bool = False

    def accounts(self) -> list[Account]:
        return [Account(name, name.partition(":")[0], memory) for name, memory in self.devices]

    def model(self, random: Random, name: str) -> Model:
        """A random model, as a user may register it."""
        most = random.choice(self.pools)
        return Model(
            name,
            group=self._group(random),
            device=random.choice(("auto", "auto", "auto", self.devices[0][0])),
            declared=random.choice((None, None, None, random.choice(self.sizes))),
            weights=random.choice(self.sizes),
            keep_alive=random.choice((None, None, 0.0, 1.0, 60.0)),
            pinned=random.random() < 0.08,
            priority=random.choice(("high", "normal", "normal", "low")),
            weight=random.choice((0.5, 1.0, 1.0, 3.0)),
            min_instances=random.randint(1, min(2, most or 2)),
            max_instances=most,
            batch_size=random.choice(self.batches),
            batch_delay=random.choice((0.0, 0.0, 0.1)),
            pipelined=random.random() < 0.7,
        )

    def _group(self, random: Random) -> str:
        """A group, or none; layouts without groups draw nothing."""
        names = [name for name, _ in self.groups]
        return random.choice(("", "", *names)) if names else ""


LAYOUTS = {
    "cpu": Layout((("cpu", 100),), 4, (20, 50, 90)),
    "gpu": Layout((("cuda:0", 100), ("cpu", 120)), 6, (20, 50, 90, 110)),
    "gpus": Layout((("cuda:0", 100), ("cuda:1", 60), ("cpu", 120)), 7, (5, 20, 50, 90)),
    "pools": Layout((("cuda:0", 100), ("cuda:1", 100)), 4, (10, 20, 40), (1, 2, 4, None), (1, 4)),
    "batches": Layout((("cpu", 100),), 3, (10, 40, 60), (1, 2), (2, 4, 8), arrivals=100.0),
    "sleepy": Layout((("cpu", 100),), 4, (20, 50, 90), dram=150),
    "tiers": Layout(
        (("cuda:0", 100), ("cuda:1", 60), ("cpu", 120)), 7, (5, 20, 50, 90), (1, 1, 2), dram=100
    ),
    "groups": Layout(
        (("cuda:0", 100), ("cuda:1", 60), ("cpu", 120)),
        8,
        (5, 20, 50, 90),
        (1, 1, 2, None),
        dram=60,
        groups=(("small", 60), ("large", 130)),
    ),
    "drivers": Layout(
        (("cuda:0", 100), ("cuda:1", 60), ("cpu", 120)),
        7,
        (5, 20, 50, 90),
        (1, 1, 2),
        (1, 4),
        dram=60,
        later=(("cuda:2", 80), ("cuda:3", 20)),
        unreliable=True,
    ),
    "crowd": Layout((("cuda:0", 100), ("cuda:1", 100)), 25, (5, 30, 60, 90), arrivals=60.0),
}
