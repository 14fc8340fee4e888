"""The table that the benchmarks print."""

import json
from pathlib import Path

import pytest

from benchmarks.report import Figure, save, summary, table


def row(figure: Figure) -> list[str]:
    """The cells of the one line of a table."""
    line = table([figure]).splitlines()[2]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_shows_what_was_measured_beside_its_floor_and_goal() -> None:
    figure = Figure("answer", 0.0003, "s", floor=0.0002, goal=0.0004)
    assert row(figure) == ["answer", "0.30 ms", "0.20 ms", "", "1.50", "≤ 0.40 ms", "yes"]


def test_a_line_shows_what_was_measured_beside_its_peer() -> None:
    figure = Figure("rate", 9000.0, "/s", peer=4000.0, goal=10000.0, better="more")
    assert row(figure) == ["rate", "9,000/s", "", "4,000/s", "2.25", "≥ 10,000/s", "NO"]


def test_a_goal_is_the_most_or_the_least_a_value_should_be_and_meets_itself() -> None:
    assert Figure("time", 2.0, "s", goal=2.0).met
    assert not Figure("time", 2.1, "s", goal=2.0).met
    assert Figure("rate", 2.0, "/s", goal=2.0, better="more").met
    assert not Figure("rate", 1.9, "/s", goal=2.0, better="more").met


def test_a_line_without_a_goal_is_neither_met_nor_missed() -> None:
    assert row(Figure("memory", 3 << 20, "bytes")) == ["memory", "3 MiB", "", "", "", "", ""]
    assert Figure("memory", 1.0, "bytes").met is None


def test_a_figure_has_a_floor_or_a_peer_but_not_both() -> None:
    with pytest.raises(ValueError, match="'answer' has a floor and a peer"):
        Figure("answer", 1.0, "s", floor=1.0, peer=1.0)


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.0000477, "s", "47.7 µs"),
        (0.00123, "s", "1.23 ms"),
        (0.0251, "s", "25 ms"),
        (1.5, "s", "1500 ms"),
        (0.4, "%", "0.4 %"),
        (1.234, "x", "1.23"),
        (3.0, "", "3"),
        (2 << 30, "bytes/s", "2 GiB/s"),
    ],
)
def test_values_are_written_in_their_unit(value: float, unit: str, written: str) -> None:
    assert row(Figure("figure", value, unit))[1] == written


def test_every_column_is_as_wide_as_its_widest_cell() -> None:
    lines = table([Figure("a", 1.0, "s"), Figure("a long name", 1.0, "s")]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_the_summary_counts_goals_and_names_the_missed_ones() -> None:
    figures = [
        Figure("a", 1.0, "s", goal=2.0),
        Figure("b", 3.0, "s", goal=2.0),
        Figure("c", 1, "s"),
    ]
    assert summary(figures) == "1 of 2 goals met. Missed: b"
    assert summary(figures[:1]) == "1 of 1 goals met."


def test_what_is_saved_says_everything_the_table_says(tmp_path: Path) -> None:
    save([Figure("rate", 9.0, "/s", peer=4.0, goal=10.0, better="more")], tmp_path / "latest.json")
    record = json.loads((tmp_path / "latest.json").read_text())
    assert record["figures"] == [
        {
            "name": "rate",
            "value": 9.0,
            "unit": "/s",
            "floor": None,
            "peer": 4.0,
            "ratio": 2.25,
            "goal": 10.0,
            "better": "more",
            "met": False,
        }
    ]
