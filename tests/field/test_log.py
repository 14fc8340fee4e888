"""The log has a line for everything that happens, and can be searched by component and level."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Gate
from tests.daemon.asking import ask
from tests.home import Home
from tests.waiting import wait_until


def lines(home: Home, *options: str) -> list[dict[str, str]]:
    return [
        json.loads(line)
        for line in home.sire("logs", "-n", "1000", "--json", *options).stdout.splitlines()
    ]


@pytest.mark.own_daemon
def test_every_event_has_a_line_with_its_component(
    home: Home, register: Callable[..., Any], tmp_path: Path
) -> None:
    home.configure('[devices.cpu]\nkind = "cpu"\nmemory = "150MiB"\n')
    register("a", 2, "Moody", "--max-memory", "100MiB")
    register("b", 3, "Scale", "--max-memory", "100MiB")
    (tmp_path / "x.json").write_text("[7, 1, 1, 1]")
    home.sire("predict", "a", "-i", tmp_path / "x.json")
    home.sire("predict", "a", "-i", "-", stdin=b"[1, 1, 1, 1]", code=5)
    home.sire("predict", "b", "-i", tmp_path / "x.json")
    job = home.sire("submit", "b", "-i", tmp_path / "x.json").stdout.decode().strip()
    home.sire("job", "wait", job)
    home.sire("unload", "b")
    home.sire("predict", "none", "-i", tmp_path / "x.json", code=3)
    home.sire("rm", "b")
    found = [(line["component"], line["message"]) for line in lines(home)]
    for component, message in [
        ("models", r"registered a for the runtime python in \d+ ms: .*x2\.safetensors"),
        ("scheduler", r"loading a on cpu, \d+ bytes reserved"),
        ("worker a", r"loaded in \d+\.\d{3} s, \d+ bytes"),
        ("requests", r"a( direct)? request for a failed after \d+ ms: InferenceError"),
        ("scheduler", r"evicting a to make room for b"),
        ("worker a", r"unloaded from cpu"),
        ("jobs", rf"job {job} of b complete after \d+ ms"),
        ("worker b", r"unloaded from cpu"),
        ("requests", r"the request Predict failed after \d+ ms: ModelNotFound"),
        ("models", r"removed b"),
    ]:
        assert any(component == c and re.fullmatch(message, m) for c, m in found), (message, found)
    assert "no ones, please" not in str(found)


@pytest.mark.own_daemon
def test_the_log_is_searched_by_component_and_level(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    home.sire("load", "m")
    home.sire("predict", "none", "-i", "-", stdin=b"[1]", code=3)
    assert {line["component"] for line in lines(home, "--component", "models")} == {"models"}
    assert {line["component"] for line in lines(home, "--component", "worker")} == {"worker m"}
    assert {line["level"] for line in lines(home, "--level", "warning")} == {"warning"}
    # The number of lines counts those that are selected.
    assert len(home.sire("logs", "-n", "1", "--component", "models").stdout.splitlines()) == 1
    shown = home.sire("logs", "-n", "1", "--level", "warning").stdout.decode()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} warning requests: the request", shown)
    assert b"debug, info" in home.sire("logs", "--level", "warn", code=2).stderr
    assert b"plain text" in home.sire("logs", "m", "--level", "info", code=2).stderr


@pytest.mark.own_daemon
def test_at_level_debug_placements_and_waits_are_explained(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    home.configure(
        '[daemon]\nlog_level = "debug"\n[devices.cpu]\nkind = "cpu"\nmemory = "150MiB"\n'
    )
    register("a", 2, "Moody", "--max-memory", "100MiB")
    register("b", 3, "Scale", "--max-memory", "100MiB")
    with home.connect() as connection, home.connect() as other, ThreadPoolExecutor() as pool:
        pool.submit(ask, connection, "a", 5)
        wait_until(lambda: any(one["state"] == "busy" for one in home.json("ps")))
        pool.submit(ask, other, "b", 7)
        explained = "b waits for memory: it needs 100 MiB on cpu (declared); fits on cpu: "
        wait_until(lambda: any(explained in one["message"] for one in lines(home)))
        gate.open()
    messages = [one["message"] for one in lines(home, "--component", "scheduler")]
    placed = next(message for message in messages if "placed" in message)
    assert placed.startswith("a is placed on cpu: it needs 100 MiB on cpu (declared)")
    assert any(re.fullmatch(r"request \d+ for b is number 1 in its queue, .*", m) for m in messages)
