"""What bounds models, and how they are told of it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon


def test_models_may_take_so_much_of_a_device_and_are_told_which_setting_says_so(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure("[limits]\nmax_memory_percent = 1\nmax_models = 2\n")
    (cpu,) = home.json("devices")["devices"]
    assert cpu["capacity_bytes"] == cpu["total_bytes"] // 100
    assert cpu["bounded_by"] == "limits.max_memory_percent"
    register("huge", 2, "Scale", "--max-memory", str(cpu["total_bytes"] // 50))
    assert b"by limits.max_memory_percent" in home.sire("load", "huge", code=4).stderr
    assert b"0 loaded of 2 at most" in home.sire("health").stdout
    later = home.sire("config", "set", "limits.max_memory_percent", "50").stderr
    assert later == b"limits.max_memory_percent: takes effect after: sire daemon restart\n"


def test_a_model_that_takes_more_than_it_may_is_ended_and_told(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--max-memory", "1MiB")
    refused = home.sire("load", "m", code=4).stderr.decode()
    assert "more than its max_memory of 1 MiB" in refused
    assert "--max-memory SIZE" in refused
    assert home.json("ls")[0]["state"] in {"unloaded", "stopping"}


def test_a_setting_that_has_moved_says_where_it_is(home: Home) -> None:
    home.configure("[placement]\nmax_models = 1\n")
    refused = home.sire("config", "check", code=2).stderr
    assert b"It has been renamed to limits.max_models." in refused
