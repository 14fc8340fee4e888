"""Pinning by hand, and what the live view is told of what happens."""

from collections.abc import Callable
from typing import Any

import pytest

from sire.protocol.replies import TopReport
from sire.protocol.requests import Top
from tests.home import Home

pytestmark = pytest.mark.own_daemon


def kinds_after(home: Home, number: int) -> list[str]:
    with home.connect() as daemon:
        return [event.kind for event in daemon.expect(TopReport, Top(after=number)).events]


def test_a_model_is_pinned_and_unpinned_also_on_disk_and_what_happens_is_told(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    home.sire("load", "m")
    assert b"stays loaded" in home.sire("pin", "m").stderr
    (instance,) = home.json("ps")
    assert instance["pinned"]
    assert instance["expires_in_seconds"] is None
    pid = home.pid()
    home.sire("daemon", "restart")
    assert home.pid() != pid
    assert home.json("show", "m")["model"]["pinned"]
    assert not home.json("unpin", "m")["model"]["pinned"]
    home.sire("load", "m")
    (instance,) = home.json("ps")
    assert instance["expires_in_seconds"] is not None
    home.sire("unload", "m")
    assert kinds_after(home, 0) == ["unpinned", "loading", "loaded", "unloaded"]
    assert kinds_after(home, 3) == ["unloaded"]
    assert b"No model" in home.sire("pin", "n", code=3).stderr
