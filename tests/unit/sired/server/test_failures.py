"""Lines about failed requests: each of a few, and the number of many."""

import logging

import pytest

from sire.errors import InvalidInput, QueueFull
from sired.server import failures
from sired.server.failures import LINES_PER_SECOND, RateLimit, log_failure


@pytest.fixture
def lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(failures.log, "filters", [RateLimit()])
    caplog.set_level(logging.INFO, "sired.requests")
    return caplog


def test_a_line_names_the_request_its_time_and_the_error(lines: pytest.LogCaptureFixture) -> None:
    log_failure("a request for m", QueueFull("The queue is full"), 0.0123, "m")
    (record,) = lines.records
    assert record.getMessage() == "a request for m failed after 12 ms: QueueFull: The queue is full"
    assert (record.levelname, vars(record)["model"]) == ("WARNING", "m")


def test_what_may_repeat_the_input_is_not_logged(lines: pytest.LogCaptureFixture) -> None:
    log_failure("a request for m", InvalidInput("'secret' is not a number."), 0.001, "m")
    assert lines.records[0].getMessage() == "a request for m failed after 1 ms: InvalidInput"


def test_of_a_flood_some_lines_are_logged_and_the_others_counted() -> None:
    limit = RateLimit()

    def line(second: float) -> str | None:
        record = logging.makeLogRecord({"msg": "Full.", "created": second})
        return record.getMessage() if limit.filter(record) else None

    assert [line(1000.5) for _ in range(LINES_PER_SECOND)] == ["Full."] * LINES_PER_SECOND
    assert [line(1000.6) for _ in range(7)] == [None] * 7
    assert line(1001.5) == "Full. (7 failures before it were not logged)"
    assert line(1001.5) == "Full."
