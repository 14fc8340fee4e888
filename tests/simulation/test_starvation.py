"""Nobody starves: how long anybody waits at most, while far more is asked than can be done.

The bounds follow from the rules and hold for every seed:

*In one queue.* A low request is due 2 x ageing after it came. What goes before it has come by then,
and is in the queue by then, which holds no more than ``queue_per_model``.

*Between models.* A load is due 2 x ageing after it began to wait at the latest. From then on each
other model has one turn before it: a turn, what is in the pipeline, the end, the load. A turn
serves so many requests at least, so a full queue takes so many rounds.
"""

from math import ceil

import pytest

from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.rules import Rules
from tests.simulation.layouts import Layout
from tests.simulation.people import YEAR, People
from tests.simulation.simulation import Simulation
from tests.simulation.world import Fate, all_goes_well

PACE = all_goes_well(
    Fate(load_seconds=(0.5, 1.0, 2.0), service_seconds=(0.02, 0.1), end_seconds=(0.0, 0.2))
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


class Impatient(People):
    """Everybody asks all the time, most of them the first model, and waits for ever."""

    def register_all(self):
        sizes = self.layout.sizes
        for number, name in enumerate(self.names):
            self.tell(events.ModelAdded(Model(name, weights=sizes[number % len(sizes)])))

    def act(self):
        now, random = self.world.now, self.random
        model = random.choice((self.names[0], self._name()))
        priority = random.choices(("high", "low"), (9, 1))[0]
        asked = self.record.ask("request", model, now, now + YEAR, priority, RULES.ageing)
        self.tell(events.RequestArrived(asked.number, model, asked.deadline, priority))


def slowest(layout, seed, bound):
    """The longest wait of each model's requests, in seconds by model and priority.

    Requests come for twice the bound, so that who is held out for ever cannot be below it.
    """
    simulation = Simulation(layout, seed, PACE, RULES, Impatient)
    simulation.run(seconds=2 * bound)
    waited = simulation.world.slowest
    assert {model for model, _ in waited} == set(simulation.people.names)
    return waited


@pytest.mark.parametrize("seed", range(3))
def test_a_low_request_waits_no_longer_than_its_ageing_and_a_full_queue(seed):
    ahead = RULES.queue_per_model + RULES.pipeline
    bound = LOAD + 2 * RULES.ageing + (ahead + 1) * SERVICE
    waited = slowest(Layout((("cpu", 100),), 1, (50,), arrivals=60.0), seed, bound)
    assert waited["m0", "low"] < bound
    assert waited["m0", "low"] > waited["m0", "high"]  # else there was no load to speak of


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(Layout((("cpu", 100),), 2, (60,), arrivals=60.0), id="two for one place"),
        pytest.param(Layout((("cpu", 100),), 10, (60,), arrivals=60.0), id="ten for one place"),
        pytest.param(
            Layout((("cuda:0", 100), ("cuda:1", 80)), 5, (20, 50, 80), arrivals=90.0),
            id="small and large",
        ),
    ],
)
def test_a_model_waits_no_longer_than_a_turn_of_every_other_takes(layout, seed):
    turn = max(RULES.patience, LOAD)
    round_of_all = layout.models * (turn + RULES.pipeline * SERVICE + END + LOAD)
    in_a_turn = min(RULES.turn_requests, int(RULES.patience / SERVICE))
    rounds = ceil(RULES.queue_per_model / in_a_turn) + 1
    bound = 2 * RULES.ageing + rounds * round_of_all
    assert max(slowest(layout, seed, bound).values()) < bound
