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


def test_models_of_a_group_share_its_memory_and_the_rest_is_others(
    home: Home, register: Callable[..., Any]
) -> None:
    refused = home.sire("register", "m", __file__, "--cmd", "true", "--group", "lab", code=2)
    assert b"There is no group 'lab'." in refused.stderr
    home.sire("config", "set", "groups.lab.memory", "100MiB")
    for name in ("first", "second"):
        register(name, 2, "Scale", "--max-memory", "60MiB", "--group", "lab")
    register("huge", 2, "Scale", "--max-memory", "101MiB", "--group", "lab")
    home.sire("load", "first")
    home.sire("load", "second")
    (lab,) = home.json("devices")["groups"]
    assert (lab["name"], lab["models"], lab["used_bytes"]) == ("lab", 3, 60 << 20)
    assert [one["model"] for one in home.json("ps")] == ["second"]
    assert b"lab has 100 MiB" in home.sire("load", "huge", code=4).stderr
    home.sire("config", "set", "groups.lab.memory", "1GiB")
    home.sire("load", "first")
    assert {one["model"] for one in home.json("ps")} == {"first", "second"}


def test_a_model_that_can_never_fit_is_told_so_when_it_is_registered(home: Home) -> None:
    home.sire("config", "set", "groups.lab.memory", "100MiB")

    def said(size: str, *options: str) -> bytes:
        program = ("m", "--cmd", "true {port}", "--trust", "--replace", "--max-memory", size)
        return home.sire("register", *program, *options).stderr

    assert b"cannot be loaded" not in said("60MiB", "--group", "lab")
    in_group = said("101MiB", "--group", "lab")
    assert b"It cannot be loaded: m needs 101 MiB" in in_group
    assert b"lab has 100 MiB" in in_group
    assert b"groups.lab.memory SIZE" in in_group
    assert b"It cannot be loaded: m needs 1024 TiB" in said("1024TiB")


def test_a_model_that_takes_more_than_it_may_is_ended_and_told(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--max-memory", "1MiB")
    refused = home.sire("load", "m", code=4).stderr.decode()
    assert "more than its max_memory of 1 MiB" in refused
    assert "--max-memory SIZE" in refused
    assert home.json("ls")[0]["state"] in {"unloaded", "stopping"}


@pytest.mark.parametrize(
    ("option", "value", "bound"),
    [
        ("--concurrency", "5000", b"from 1 to 256"),
        ("--instances", "1..10000", b"the most is 9999"),
        ("--batch-delay", "1000000s", b"longer than 60 s"),
        ("--mean", "nan,0,0", b"not a list of numbers"),
        ("--std", "1,inf,1", b"not a list of numbers"),
        ("--weight", "nan", b"not a number above zero"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_its_bound(
    home: Home, option: str, value: str, bound: bytes
) -> None:
    said = home.sire("register", "m", "m.onnx", option, value, code=2).stderr
    assert bound in said


def test_a_setting_that_has_moved_says_where_it_is(home: Home) -> None:
    home.configure("[placement]\nmax_models = 1\n")
    refused = home.sire("config", "check", code=2).stderr
    assert b"It has been renamed to limits.max_models." in refused
