"""A client with many large inputs does not keep those of other clients out."""

from collections.abc import Callable
from typing import Any

import pytest

from sire.client.link import Link
from sire.errors import QueueFull
from sire.protocol.replies import Failure
from sire.protocol.requests import Predict
from tests.conftest import Gate
from tests.home import Home

# Waits at the gate; the blanks are part of the input.
BODY = b"[5, 1, 1, 1]" + b" " * 100_000


@pytest.mark.settings('[queue]\nmemory = "1MB"\n')
def test_a_client_that_fills_its_share_leaves_room_for_another(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    with home.connect() as connection:
        first, second = connection.open_link(), connection.open_link()
        try:
            full = rejected(first)
            assert full.details["client_bytes"] == full.details["held_bytes"]
            assert full.details["held_bytes"] + len(BODY) > full.details["client_limit_bytes"]
            assert full.details["limit_bytes"] == 1_000_000
            assert second.send(Predict(id=1, model="m", timeout=60.0), [BODY])
            gate.open()
            assert not isinstance(second.receive(1, 60.0)[0], Failure)
        finally:
            first.close()
            second.close()


def rejected(link: Link) -> Failure:
    """Send eight inputs, of which three quarters of 1 MB are seven; returns the last answer."""
    for number in range(8):
        assert link.send(Predict(id=number, model="m", timeout=60.0), [BODY])
    reply, _ = link.receive(7, 60.0)
    assert isinstance(reply, Failure)
    assert reply.code == QueueFull.code
    return reply
