"""What keys choose in the live view, and what it remembers from look to look."""

import msgspec
import pytest

from sire.protocol.counts import ModelEvent
from sire.protocol.jobs import JobProgress
from sire.protocol.replies import TopReport
from sire_cli.top.activity import distinct_events
from sire_cli.top.keys import CLOSED, SORTS, Control, ModelAction
from sire_cli.top.rate_history import RateHistory, sparkline
from tests.cli.test_top import (
    a_full_report,
    a_report,
    an_instance,
    line_with,
    lines_of,
    stats_of,
)

UP, DOWN, ESCAPE = "\x1b[A", "\x1b[B", "\x1b"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def names(control: Control, report: TopReport) -> list[str]:
    return [row.stats.model for row in control.rows(report)]


def at_rate(rate: float, *events: ModelEvent, pid: int = 1, model: str = "a") -> TopReport:
    report = a_report(stats=[stats_of(model, requests_per_second=rate)], pid=pid)
    return msgspec.structs.replace(report, events=events)


def an_event(number: int, kind: str = "loaded", model: str = "a", words: str = "") -> ModelEvent:
    return ModelEvent(number, 1_700_000_000.0 + number, kind, model, "cpu", words)


def test_arrows_and_letters_move_the_selection_and_stop_at_the_ends() -> None:
    report, control = a_full_report(), Control()
    shown = names(control, report)
    control.press(DOWN, report)
    assert control.selected == shown[0]
    control.press("jj" + UP, report)
    assert control.selected == shown[1]
    control.press(UP * 9, report)
    assert control.selected == shown[0]
    control.press("j" * 9, report)
    assert control.selected == shown[-1]


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("l", ModelAction.LOAD),
        ("\r", ModelAction.LOAD),
        ("u", ModelAction.UNLOAD),
        ("p", ModelAction.PIN),
    ],
)
def test_an_action_key_applies_to_the_selected_model_and_does_nothing_without_one(
    key: str, action: ModelAction
) -> None:
    report, control = a_full_report(), Control()
    assert control.press(key, report) == []
    assert control.press(DOWN + key, report) == [action]


def test_a_filter_is_typed_kept_and_taken_back() -> None:
    report, control = a_full_report(), Control()
    control.press("/Quies\x7f", report)
    assert control.typing
    assert not control.quit
    assert names(control, report) == []
    control.press("\x7f" * 9 + "NeT\r", report)
    assert not control.typing
    assert names(control, report) == ["resnet50"]
    control.press(ESCAPE, report)
    assert len(names(control, report)) == 4


def test_each_order_is_one_key_away_and_the_last_leads_to_the_first() -> None:
    report, control = a_full_report(), Control()
    seen = []
    for _ in SORTS:
        seen.append(control.sort)
        control.press("s", report)
    assert (seen, control.sort) == (list(SORTS), "activity")
    assert names(Control(sort="name"), report) == sorted(names(control, report))
    assert names(Control(sort="errors"), report)[0] == "resnet50"


def test_a_terminal_that_has_gone_ends_it_whatever_is_being_typed() -> None:
    control = Control(typing=True)
    control.press(CLOSED, a_full_report())
    assert control.quit


def test_the_selected_row_is_marked_and_stays_on_a_screen_that_is_too_small() -> None:
    report = a_report(stats=[stats_of(f"model-{n:02}") for n in range(40)])
    for place in (1, 20, 39):
        lines = lines_of(report, footer="q", control=Control(selected=f"model-{place:02}"))
        assert line_with(f"model-{place:02}", lines)
        assert len(lines) == 24


def test_the_help_tells_the_keys() -> None:
    lines = lines_of(a_full_report(), control=Control(helping=True))
    assert line_with("unload the model", lines)
    assert not [line for line in lines if "MODEL" in line]


def test_events_are_told_once_each_the_latest_first() -> None:
    history = RateHistory(Clock())
    history.add(at_rate(0, an_event(1), an_event(2)))
    assert history.last == 2
    history.add(at_rate(0, an_event(3)))
    assert [event.number for event in history.events] == [3, 2, 1]


def test_a_new_daemon_is_asked_for_all_of_its_events() -> None:
    history = RateHistory(Clock())
    history.add(at_rate(0, an_event(7)))
    history.add(at_rate(0, an_event(9, "crashed"), pid=2))
    assert history.last == 0
    history.add(at_rate(0, an_event(1, "loading"), an_event(9, "crashed"), pid=2))
    assert [event.number for event in history.events] == [9, 1, 7]


def test_rates_of_the_last_minutes_are_drawn_as_bars() -> None:
    clock = Clock()
    history = RateHistory(clock)
    for clock.now in range(180):
        history.add(at_rate(100.0 if clock.now >= 90 else 0.0))
    assert sparkline(history.rates("a", 4)).plain == "▁▁██"
    assert sparkline(history.rates("b", 4)).plain == "▁▁▁▁"
    assert sparkline(history.rates(None, 2)).plain == "▁█"
    clock.now += 1000
    history.add(at_rate(1.0))
    assert history.rates("a", 3) == [None, None, 1.0]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (60, 12)])
def test_jobs_and_events_share_what_room_there_is(width: int, height: int) -> None:
    history = RateHistory(Clock())
    words = "for somebody who needs the room\nvery much"
    events = [an_event(n, "evicted", "resnet50", words) for n in range(1, 50)]
    report = msgspec.structs.replace(
        a_full_report(),
        events=tuple(events),
        jobs=tuple(JobProgress(f"job{n}", "mnist", "running", 3.0, "in.png") for n in range(9)),
    )
    history.add(report)
    lines = lines_of(report, width, height, footer="q", history=history)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    if height >= 24:
        assert line_with("evicted", lines)
        assert line_with("job0", lines)


def test_a_loading_model_tells_how_far_it_is() -> None:
    instances = [an_instance("m", state="loading", loading_percent=41.7)]
    lines = lines_of(a_report(stats=[stats_of("m", "loading")], instances=instances))
    assert "load 42%" in line_with("■ m", lines)


def test_what_another_event_tells_as_well_is_left_out() -> None:
    kinds = ["loading", "loaded", "evicted", "unloaded", "loading", "loaded", "unloaded", "loading"]
    events = [an_event(number, kind) for number, kind in enumerate(kinds)]
    shown = [event.kind for event in distinct_events(reversed(events))]
    assert shown == ["loading", "unloaded", "loaded", "evicted", "loaded"]
