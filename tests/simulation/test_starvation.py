"""No request starves: the longest possible wait while far more is requested than can be served.

The bounds follow from the rules and hold for every seed:

*In one queue.* A low request is due 2 x ageing after its arrival. What is served before it has
arrived by then and is in the queue, which holds at most ``queue_per_model`` requests.

*Between models.* A load is due at most 2 x ageing after it began to wait. From then on each other
model has one turn before it: the turn, the requests in the pipeline, the end, and the load. A turn
serves a minimum number of requests, which bounds the number of rounds that a full queue takes.
"""

from math import ceil

import pytest

from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.rules import Rules
from tests.simulation.clients import YEAR, Clients
from tests.simulation.layouts import Layout
from tests.simulation.simulation import Simulation
from tests.simulation.world import Conditions, without_faults

PACE = without_faults(
    Conditions(load_seconds=(0.5, 1.0, 2.0), service_seconds=(0.02, 0.1), end_seconds=(0.0, 0.2))
)
RULES = Rules(
    overhead={"cpu": 0, "cuda": 0},
    file_factor=1.0,
    queue_per_model=20,
    ageing=2.0,
    patience=1.0,
    turn_requests=10,
)
SERVICE, LOAD, END = (
    max(seconds) for seconds in (PACE.service_seconds, PACE.load_seconds, PACE.end_seconds)
)


class Impatient(Clients):
    """All clients send requests all the time, most of them to the first model, and wait forever."""

    def register_all(self) -> None:
        sizes = self.layout.sizes
        for number, name in enumerate(self.names):
            self.feed(events.ModelAdded(Model(name, weights=sizes[number % len(sizes)])))

    def act(self) -> None:
        now, random = self.world.now, self.random
        model = random.choice((self.names[0], self._name()))
        priority = random.choices(("high", "low"), (9, 1))[0]
        operation = self.record.begin("request", model, now, now + YEAR, priority, RULES.ageing)
        self.feed(events.RequestArrived(operation.number, model, operation.deadline, priority))


# One in every run of the tests; the same worlds with other dice in `make test-all`.
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2)))


def slowest(layout: Layout, seed: int, bound: float) -> dict[tuple[str, str], float]:
    """The longest wait of each model's requests, in seconds by model and priority.

    Requests arrive for twice the bound, so that a starved request cannot stay below it.
    """
    simulation = Simulation(layout, seed, PACE, RULES, Impatient)
    simulation.run(seconds=2 * bound)
    waited = simulation.world.slowest
    assert {model for model, _ in waited} == set(simulation.clients.names)
    return waited


@pytest.mark.parametrize("seed", SEEDS)
def test_a_low_request_waits_no_longer_than_its_ageing_and_a_full_queue(seed: int) -> None:
    ahead = RULES.queue_per_model + RULES.pipeline
    bound = LOAD + 2 * RULES.ageing + (ahead + 1) * SERVICE
    waited = slowest(Layout((("cpu", 100),), 1, (50,), arrivals=60.0), seed, bound)
    assert waited["m0", "low"] < bound
    assert waited["m0", "low"] > waited["m0", "high"]  # otherwise the queue was hardly loaded


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(Layout((("cpu", 100),), 2, (60,), arrivals=60.0), id="two for one slot"),
        pytest.param(Layout((("cpu", 100),), 10, (60,), arrivals=60.0), id="ten for one slot"),
        pytest.param(
            Layout((("cuda:0", 100), ("cuda:1", 80)), 5, (20, 50, 80), arrivals=90.0),
            id="small and large",
        ),
    ],
)
def test_a_model_waits_no_longer_than_a_turn_of_every_other_takes(
    layout: Layout, seed: int
) -> None:
    turn = max(RULES.patience, LOAD)
    round_of_all = layout.models * (turn + RULES.pipeline * SERVICE + END + LOAD)
    in_a_turn = min(RULES.turn_requests, int(RULES.patience / SERVICE))
    rounds = ceil(RULES.queue_per_model / in_a_turn) + 1
    bound = 2 * RULES.ageing + rounds * round_of_all
    assert max(slowest(layout, seed, bound).values()) < bound
