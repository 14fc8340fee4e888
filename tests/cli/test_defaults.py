"""Options that models have from ``[defaults]``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon


def model(home: Home, name: str) -> Any:
    return home.json("show", name)["model"]


def test_a_model_without_an_option_has_the_default_of_the_settings(
    home: Home, register: Callable[..., Any], register_torch: Callable[..., Any], zoo: Path
) -> None:
    home.configure(
        '[defaults]\npriority = "low"\nbatch_size = 8\nmax_memory = "64MiB"\n'
        'cache = true\ndevice = "cpu"\nconcurrency = 2\n'
    )
    register("plain", 2, "Scale", "--input", "float32[-1,4]")
    options = ("--priority", "normal", "--batch-size", "1", "--no-cache", "--device", "auto")
    register("own", 2, "Scale", *options)
    register_torch("unbatchable")
    plain = model(home, "plain")
    assert (plain["priority"], plain["batch_size"], plain["cached"]) == ("low", 8, True)
    assert (plain["max_memory"], plain["device"], plain["concurrency"]) == (64 << 20, "cpu", 2)
    own = model(home, "own")
    assert (own["priority"], own["batch_size"], own["cached"]) == ("normal", 1, False)
    assert (own["max_memory"], own["device"]) == (64 << 20, "auto")
    assert model(home, "unbatchable")["batch_size"] == 1  # its inputs are not known
    (fit,) = home.json("estimate", zoo / "x2.safetensors")[0]["devices"]
    assert (fit["need_bytes"], fit["source"]) == (64 << 20, "declared")
    home.sire("load", "plain")
    assert home.json("show", "plain")["instances"][0]["memory_bytes"] >= 64 << 20


def test_defaults_change_with_the_daemons_next_start_and_what_was_specified_stays(
    home: Home, register: Callable[..., Any]
) -> None:
    register("plain")
    register("own", 2, "Scale", "--no-pin", "--weight", "1")
    register("unpinned")
    home.sire("pin", "unpinned")
    home.sire("unpin", "unpinned")
    said = home.sire("config", "set", "defaults.pin", "true").stderr
    assert b"defaults.pin" in said
    assert b"sire daemon restart" in said
    assert not model(home, "plain")["pinned"]
    home.configure("[defaults]\npin = true\nweight = 3\n")
    home.sire("daemon", "restart")
    assert [model(home, name)["pinned"] for name in ("plain", "own", "unpinned")] == [
        True,
        False,
        False,
    ]
    assert (model(home, "plain")["weight"], model(home, "own")["weight"]) == (3, 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("batch_size = 0", b"defaults.batch_size: 0 is not a whole number from 1"),
        ('priority = "hihg"', b"Did you mean high?"),
        ("trust = true", b"setting defaults.trust does not exist"),
    ],
)
def test_a_default_is_checked_like_the_option(home: Home, line: str, said: bytes) -> None:
    home.configure(f"[defaults]\n{line}\n")
    assert said in home.sire("config", "check", code=2).stderr
