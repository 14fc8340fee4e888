"""Recent events are reported once to a client that asks again."""

from typing import Any

from sired.daemon.telemetry.event_log import EVENTS_KEPT, EventLog


def numbers(log: Any, after: int) -> list[int]:
    return [event.number for event in log.after(after)]


def test_only_what_is_new_is_told_the_oldest_first() -> None:
    log = EventLog()
    for kind in ("loading", "loaded", "evicted"):
        log.add(kind, "a", "cpu", "words")
    assert [event.kind for event in log.after(0)] == ["loading", "loaded", "evicted"]
    assert numbers(log, 2) == [3]
    assert numbers(log, 3) == []


def test_only_the_last_events_are_kept() -> None:
    log = EventLog()
    for _ in range(EVENTS_KEPT + 3):
        log.add("loaded", "a")
    assert numbers(log, 0) == [*range(4, EVENTS_KEPT + 4)]


def test_who_comes_from_an_earlier_daemon_is_told_everything() -> None:
    log = EventLog()
    log.add("loaded", "a")
    assert numbers(log, 99) == [1]
