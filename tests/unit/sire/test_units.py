import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sire.errors import InvalidConfiguration
from sire.units import (
    exact_bytes,
    exact_duration,
    format_bytes,
    format_duration,
    parse_bytes,
    parse_duration,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1048576", 1048576),
        (77, 77),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1k", 1024),
        ("600MB", 600_000_000),
        ("600 MiB", 600 * 1024**2),
        (" 1.5G ", 1536 * 1024**2),
        ("2gib", 2 * 1024**3),
        ("1T", 1024**4),
    ],
)
def test_sizes_are_read_as_people_write_them(text: Any, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "12 parsecs", "-1", "1..5G", "1e999", -1, True])
def test_what_is_no_size_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="is not a size") as caught:
        parse_bytes(text)
    assert "2GiB" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("12", 12),
        (7, 7),
        (0.5, 0.5),
        ("1.5h", 5400),
        ("5 M", 300),
        ("2d", 172800),
        ("forever", math.inf),
        (" Forever ", math.inf),
    ],
)
def test_durations_are_read_as_people_write_them(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 years", "-3s", "1:30", -3, -0.5, math.nan, False])
def test_what_is_no_duration_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="is not a duration") as caught:
        parse_duration(text)
    assert "5m" in caught.value.hint


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1536, "1.5 KiB"),
        (1024**3, "1 GiB"),
        (139 * 1024**3, "139 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes_are_shown_in_the_unit_that_reads_best(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.40 ms"),
        (0.25, "250 ms"),
        (2.5, "2.5 s"),
        (90, "90 s"),
        (300, "5 m"),
        (86400, "1 d"),
        (math.inf, "forever"),
    ],
)
def test_durations_are_shown_in_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (2 * 1024**3, "2GiB"),
        (600_000_000, "600MB"),
        (1536, "1536"),
        (1048577, "1048577"),
    ],
)
def test_exact_sizes_take_the_largest_unit_without_a_remainder(count: int, text: str) -> None:
    assert exact_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (90, "90s"), (300, "5m"), (7200, "2h"), (math.inf, "forever")],
)
def test_exact_durations_take_the_largest_unit_without_a_remainder(
    seconds: float, text: str
) -> None:
    assert exact_duration(seconds) == text


@given(st.integers(0, 2**63 - 1))
def test_an_exact_size_is_read_back_to_the_byte(count: int) -> None:
    assert parse_bytes(exact_bytes(count)) == count


@given(st.floats(0, allow_nan=False))
def test_an_exact_duration_is_read_back_to_the_last_bit(seconds: float) -> None:
    assert parse_duration(exact_duration(seconds)) == seconds
