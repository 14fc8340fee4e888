"""Errors as HTTP responses."""

import json

import pytest

from sire import errors
from sired.gateway.errors import HttpError, error_response, headers_of, status_of


def test_each_type_of_error_has_a_status_of_its_own() -> None:
    kinds = errors.SireError.__subclasses__()
    known = [kind for kind in kinds if kind.__module__ == errors.__name__]
    assert len(known) > 15
    for kind in known:
        assert 400 <= status_of(kind("x")) <= 507
    by_status = {kind.code: status_of(kind("x")) for kind in known}
    assert by_status["ModelNotFound"] == 404
    assert by_status["InvalidInput"] == 400
    assert by_status["QueueFull"] == 429
    assert by_status["DaemonUnavailable"] == 503
    assert by_status["DeadlineExceeded"] == 504
    assert by_status["InsufficientMemory"] == 507


@pytest.mark.parametrize(("wait", "seconds"), [(None, "1"), (0.2, "1"), (3.2, "4"), (1e9, "60")])
def test_a_full_queue_tells_when_to_try_again(wait: float | None, seconds: str) -> None:
    assert headers_of(errors.QueueFull("x", wait_seconds=wait)) == {"retry-after": seconds}


def test_the_body_has_the_code_the_message_the_hint_and_the_figures() -> None:
    response = error_response(errors.InsufficientMemory("too much", hint="Unload.", need=3))
    assert json.loads(bytes(response.body)) == {
        "error": {
            "code": "InsufficientMemory",
            "message": "too much",
            "hint": "Unload.",
            "details": {"need": 3},
        }
    }


def test_a_request_that_is_refused_has_the_name_of_its_status() -> None:
    response = error_response(HttpError(413, "too large", headers={"connection": "close"}))
    assert json.loads(bytes(response.body))["error"]["code"] == "RequestEntityTooLarge"
    assert response.headers["connection"] == "close"
