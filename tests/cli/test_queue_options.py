"""What the command line can say about queues, and that it reaches them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home


def test_a_priority_is_given_per_request_or_per_model_and_a_wrong_one_is_usage(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--priority", "low")
    assert home.json("show", "m")["model"]["priority"] == "low"
    answer = home.sire("predict", "m", "-i", "-", "--priority", "high", stdin=b"[1, 2, 3, 4]")
    assert answer.stdout == b"[2.0,4.0,6.0,8.0]\n"
    wrong = home.sire("predict", "m", "-i", "-", "--priority", "urgent", stdin=b"[1]", code=2)
    assert b"high, normal, low" in wrong.stderr


def test_a_weight_is_kept_and_a_wrong_one_is_told(
    home: Home, register: Callable[..., Any], zoo: Path
) -> None:
    register("m", 2, "Scale", "--weight", "2.5")
    assert home.json("show", "m")["model"]["weight"] == 2.5
    weights, kind = zoo / "x2.safetensors", f"{zoo}/classes.py:Scale"
    for wrong in ("heavy", "0", "inf"):
        told = home.sire("register", "w", weights, "--class", kind, "--weight", wrong, code=2)
        assert wrong.encode() in told.stderr


def test_ps_tells_how_long_a_request_would_wait(home: Home, register: Callable[..., Any]) -> None:
    register("m")
    home.sire("predict", "m", "-i", "-", stdin=b"[1, 2, 3, 4]")
    (instance,) = home.json("ps")
    assert instance["wait_seconds"] == 0
    assert b"WAIT" in home.sire("ps").stdout


def test_a_number_of_instances_is_kept_and_a_wrong_one_is_usage(
    home: Home, register: Callable[..., Any], zoo: Path
) -> None:
    register("m", 2, "Scale", "--instances", "1..4")
    assert home.json("show", "m")["model"]["instances"] == "1..4"
    weights, kind = zoo / "x2.safetensors", f"{zoo}/classes.py:Scale"
    for wrong in ("many", "0", "4..2", "1.."):
        told = home.sire("register", "w", weights, "--class", kind, "--instances", wrong, code=2)
        assert b"1..4 or auto" in told.stderr


def test_a_request_can_say_that_its_model_is_unloaded_afterwards(
    home: Home, register: Callable[..., Any], new_name: str
) -> None:
    register(new_name)
    home.sire("predict", new_name, "-i", "-", stdin=b"[1, 2, 3, 4]")
    assert len(home.json("ps")) == 1
    home.sire("predict", new_name, "-i", "-", "--keep-alive", "0", stdin=b"[1, 2, 3, 4]")
    home.sire("unload", new_name)  # replies once the memory is free
    assert home.json("stats", new_name)["loads"] == 1
    assert home.json("ps") == []
    wrong = home.sire("predict", new_name, "-i", "-", "--keep-alive", "soon", stdin=b"[1]", code=2)
    assert b"not a duration" in wrong.stderr


@pytest.mark.own_daemon
def test_no_more_models_are_loaded_than_the_configuration_allows(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure("[limits]\nmax_models = 1\n")
    for number in (1, 2):
        register(f"m{number}", number)
        home.sire("predict", f"m{number}", "-i", "-", stdin=b"[1, 2, 3, 4]")
    assert [instance["model"] for instance in home.json("ps")] == ["m2"]
