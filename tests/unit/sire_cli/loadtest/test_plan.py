"""Which requests a load consists of, when they are due, and what its figures are."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any

import pytest

from sire_cli.loadtest.plan import LoadInput, LoadPlan, arrival_schedule, choices
from sire_cli.loadtest.report import LoadCounts, percentile

A, B = LoadInput((b"1",), "application/json", "a"), LoadInput((b"2",), "application/json", "b")


def plan(**fields: Any) -> LoadPlan:
    return LoadPlan(models=("m", "n"), inputs=(A, B), **fields)


def chosen(count: int, **fields: Any) -> list[tuple[str, ...]]:
    return [(model, given.name) for model, given in islice(choices(plan(**fields)), count)]


def moments(count: int, **fields: Any) -> list[float]:
    table, due = arrival_schedule(plan(**fields), 100.0), []
    for _ in range(count):
        due.append(table.due)
        table.sent()
    return due


def test_in_turn_every_model_gets_every_input() -> None:
    assert chosen(5) == [("m", "a"), ("n", "a"), ("m", "b"), ("n", "b"), ("m", "a")]


def test_at_random_all_pairs_come_about_equally_often_and_again_with_the_same_seed() -> None:
    some = chosen(4000, at_random=True, seed=7)
    assert min(Counter(some).values()) > 900
    assert some == chosen(4000, at_random=True, seed=7)
    assert some != chosen(4000, at_random=True, seed=8)


def test_clients_that_wait_send_again_when_they_have_been_answered_and_waited() -> None:
    table = arrival_schedule(plan(clients=2, delay=0.5), 100.0)
    assert table.due == 100.0
    table.sent()
    table.sent()
    assert table.due == math.inf
    table.answered(101.0)
    assert table.due == 101.5


def test_an_even_rate_does_not_drift() -> None:
    assert moments(1001, rate=10.0, evenly=True)[::500] == [100.0, 150.0, 200.0]


def test_a_random_rate_has_the_gaps_of_a_poisson_process() -> None:
    due = moments(20_001, rate=50.0, seed=3)
    gaps = [later - sooner for sooner, later in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.03)
    assert due == moments(20_001, rate=50.0, seed=3)


def test_choosing_at_random_does_not_change_when_requests_are_due() -> None:
    assert moments(10, rate=5.0, seed=3) == moments(10, rate=5.0, seed=3, at_random=True)


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        (range(1, 101), 0.5, 50),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
        (range(1, 101), 0.07, 7),
        (range(1, 11), 0.99, 10),
        ([3.0], 0.5, 3.0),
        ([], 0.5, None),
    ],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(
    values: Iterable[float], fraction: float, expected: float | None
) -> None:
    assert percentile(list(values), fraction) == expected


def test_figures_of_nothing_are_none_and_the_most_frequent_error_comes_first() -> None:
    counts = LoadCounts()
    counts.errors.update(["Cancelled", "QueueFull", "QueueFull"])
    figures = counts.figures(2.0)
    assert figures["p50_latency_seconds"] is None
    assert figures["answers_per_second"] == 0.0
    assert list(figures["errors"]) == ["QueueFull", "Cancelled"]
