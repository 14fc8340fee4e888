"""The reuse rate that a history of requests predicts."""

import random
from typing import Any

import pytest

from sired.scheduler.policies.reuse import DOUBT, FIRST_GAP, ReuseHistory


def history_of(times: Any) -> Any:
    history = ReuseHistory()
    for time in times:
        history.arrived(time)
    return history


def every(seconds: float, count: int = 30) -> list[float]:
    return [number * seconds for number in range(count)]


def bursts(pause: float, size: int, count: int = 20) -> list[float]:
    return [burst * pause + number for burst in range(count) for number in range(size)]


def test_a_model_requested_once_is_expected_after_the_default_gap() -> None:
    assert history_of([]).reuse_rate(1) == history_of([7]).reuse_rate(1) == 1 / FIRST_GAP


def test_regular_requests_are_half_a_period_away() -> None:
    assert history_of(every(600)).reuse_rate(10) == pytest.approx(1 / 300)


def test_random_requests_are_a_mean_gap_away() -> None:
    draw = random.Random(3)
    now, rates = 0.0, []
    history = ReuseHistory()
    for _ in range(3000):
        now += draw.expovariate(1 / 600)
        history.arrived(now)
        rates.append(history.reuse_rate(300))
    mean_wait = sum(1 / rate for rate in rates) / len(rates)
    assert mean_wait == pytest.approx(600, rel=0.15)


def test_a_burst_after_a_pause_does_not_count_as_a_short_gap() -> None:
    idle = 400
    assert history_of(bursts(3600, 5)).reuse_rate(idle) < 1 / 1000
    assert history_of(every(720)).reuse_rate(idle) > 1 / 400


def test_during_a_session_the_next_request_is_near() -> None:
    sessions = history_of(bursts(7200, 30))
    assert sessions.reuse_rate(2) > 20 * sessions.reuse_rate(120)


def test_a_long_overdue_request_is_not_expected_soon() -> None:
    history = history_of(every(10))
    assert history.reuse_rate(86400) == pytest.approx(DOUBT / 86400)


def test_a_rising_request_rate_is_noticed_within_twenty_requests() -> None:
    history = history_of(every(3600))
    before = history.reuse_rate(5)
    last = 29 * 3600
    for number in range(1, 21):
        history.arrived(last + 10 * number)
    assert history.reuse_rate(5) > 20 * before


def test_simultaneous_requests_count_as_one_use() -> None:
    many = [time for time in every(600) for _ in range(100)]
    assert history_of(many).reuse_rate(10) == history_of(every(600)).reuse_rate(10)


def test_the_last_load_time_counts_half() -> None:
    history = ReuseHistory()
    for seconds in (8, 4, 2):
        history.loaded(seconds)
    assert history.load_seconds == 4
