"""Measured values, counted by size."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sired.daemon.telemetry.histogram import Histogram

SECONDS = st.floats(1e-7, 1e5)


@given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_a_thirtysecond_of_the_true_one(values: Any, fraction: Any) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(values)
    rank = next(n for n in range(1, len(values) + 1) if n >= fraction * len(values))
    assert histogram.quantile(fraction) == pytest.approx(ordered[rank - 1], rel=1 / 31)


@given(st.lists(SECONDS, max_size=200))
def test_counts_below_powers_of_two_are_exact(values: Any) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    for bound, below in histogram.cumulative(-14, 8):
        assert below == sum(value < bound for value in values)


def test_nothing_measured_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_a_value_can_be_counted_several_times_at_once() -> None:
    histogram = Histogram()
    histogram.record(0.25, 10)
    histogram.record(8.0)
    assert (histogram.count, histogram.sum, histogram.largest) == (11, 10.5, 8.0)
    assert histogram.quantile(0.9) == pytest.approx(0.25, rel=1 / 31)
    assert histogram.quantile(1) == 8.0


def test_a_million_values_take_few_cells() -> None:
    histogram = Histogram()
    for number in range(1, 100_000):
        histogram.record(number * 1e-5)
    assert len(histogram.cells) < 300


def test_what_came_after_a_copy_is_told_apart() -> None:
    histogram = Histogram()
    histogram.record(8.0, times=100)
    earlier = histogram.copy()
    histogram.record(0.5, times=3)
    new = histogram.since(earlier)
    assert (new.count, new.sum) == (3, 1.5)
    assert new.quantile(1.0) == pytest.approx(0.5, rel=0.04)
    assert (earlier.count, earlier.largest) == (100, 8.0)
