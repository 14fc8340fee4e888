"""Models that give way to each other sleep in main memory, and wake much faster than they load."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sire.client.connection import Connection
from sire.errors import InsufficientMemory, InvalidInput
from sire.protocol.counts import ModelStats
from sire.protocol.replies import InstanceInfo, InstanceList, StatsReport
from sire.protocol.requests import Load, Move, Predict, Ps, Register, Stats
from sire.spec import ModelSpec
from tests.home import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("tiers")

MB = 1_000_000
# A device that holds one of two models of 80 MB, and main memory for both.
SMALL = '[devices.small]\nkind = "cpu"\nmemory = "165MB"\n[tiers]\ndram = "200MB"\n'
CLASS = """
import torch


class Big(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.empty(20, 1_000_000))
        self.register_buffer("number", torch.zeros(1))

    def forward(self, x):
        return x + self.number + self.table[:, ::100_000].sum()
"""


@pytest.fixture(scope="module")
def big_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("big")
    (directory / "big.py").write_text(CLASS)
    for number in range(2):
        table = torch.zeros(20, 1_000_000)
        content = {"table": table, "number": torch.tensor([float(number)])}
        save_file(content, directory / f"{number}.safetensors")
    return directory


@pytest.fixture
def two(home: Home, big_models: Path) -> Iterator[Connection]:
    """Two models of 80 MB each."""
    with home.connect() as connection:
        for number in range(2):
            spec = ModelSpec(
                name=f"m{number}",
                path=str(big_models / f"{number}.safetensors"),
                model_class=f"{big_models}/big.py:Big",
            )
            connection.ask(Register(model=spec))
        yield connection


def ask(connection: Connection, model: str) -> list[float]:
    _, frames = connection.ask(Predict(model=model), [b"[1.0]"])
    numbers: list[float] = json.loads(bytes(frames[0]))
    return numbers


def instances(connection: Connection) -> dict[str, InstanceInfo]:
    return {one.model: one for one in connection.expect(InstanceList, Ps()).instances}


def counts(connection: Connection, model: str) -> ModelStats:
    return connection.expect(StatsReport, Stats(name=model)).models[0]


@pytest.mark.settings(SMALL)
def test_models_that_take_turns_wake_instead_of_loading(two: Connection) -> None:
    before = {name: counts(two, name) for name in ("m0", "m1")}
    assert [ask(two, "m0"), ask(two, "m1")] == [[1.0], [2.0]]
    pids = {name: one.pid for name, one in instances(two).items()}
    assert len(pids) == 2
    for _ in range(3):
        assert [ask(two, "m0"), ask(two, "m1")] == [[1.0], [2.0]]
    there = instances(two)
    assert {name: one.pid for name, one in there.items()} == pids
    assert (there["m0"].state, there["m0"].tier) == ("asleep", "dram")
    assert there["m0"].dram_bytes == pytest.approx(80 * MB, rel=0.01)
    assert there["m0"].memory_bytes < 40 * MB
    assert (there["m1"].state, there["m1"].tier, there["m1"].dram_bytes) == ("ready", "device", 0)
    assert there["m0"].memory_bytes + there["m1"].memory_bytes <= 165 * MB
    assert [counts(two, name).loads - one.loads for name, one in before.items()] == [1, 1]
    assert counts(two, "m0").wakes - before["m0"].wakes == 3


@pytest.mark.settings(SMALL)
def test_a_sleeper_that_is_killed_frees_both_its_memories_and_is_loaded_anew(
    two: Connection,
) -> None:
    crashes = counts(two, "m0").crashes
    ask(two, "m0")
    asleep = two.expect(InstanceInfo, Move(name="m0", to="dram"))
    assert asleep.pid is not None
    os.kill(asleep.pid, signal.SIGKILL)
    wait_until(lambda: not instances(two))
    assert ask(two, "m0") == [1.0]
    assert instances(two)["m0"].dram_bytes == 0
    assert counts(two, "m0").crashes == crashes + 1


@pytest.mark.settings(SMALL)
def test_a_model_is_moved_by_hand_from_disk_to_memory_and_back(two: Connection, home: Home) -> None:
    asleep = home.json("move", "m0", "dram")
    assert (asleep["state"], asleep["tier"]) == ("asleep", "dram")
    assert home.json("show", "m0")["tier"] == "dram"
    header, line = (row.split() for row in home.sire("ps").stdout.decode().splitlines())
    assert line[:3] == ["m0", "small", "asleep"]
    assert "TIER" in header
    assert "dram" in line
    said = home.sire("move", "m0", "small").stderr.decode()
    assert "Loaded m0 on small" in said
    awake = instances(two)["m0"]
    assert (awake.pid, awake.tier) == (asleep["pid"], "device")
    assert "is asleep" in home.sire("move", "m0", "dram").stderr.decode()
    assert home.sire("move", "m0", "disk").stderr.decode() == "Moved m0 to disk.\n"
    assert instances(two) == {}
    assert home.json("show", "m0")["tier"] == "disk"


def test_without_main_memory_set_aside_nothing_sleeps_and_it_is_said_why(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    with home.connect() as connection:
        with pytest.raises(InsufficientMemory, match=r"tiers\.dram is 0"):
            connection.ask(Move(name="m", to="dram"))
        assert instances(connection) == {}
    home.sire("move", "m", "dram", code=4)
    home.sire("move", "m", "nowhere", code=3)


@pytest.mark.settings(SMALL)
def test_a_model_whose_runtime_cannot_move_it_says_so_and_stays(home: Home, tmp_path: Path) -> None:
    from tests.contract.runtime_cases import write_onnx

    write_onnx(tmp_path / "twice.onnx")
    with home.connect() as connection:
        connection.ask(Register(model=ModelSpec(name="m", path=str(tmp_path / "twice.onnx"))))
        connection.ask(Load(name="m"))
        with pytest.raises(InvalidInput, match="cannot sleep"):
            connection.ask(Move(name="m", to="dram"))
        assert instances(connection)["m"].state == "ready"


@pytest.mark.settings(SMALL.replace("200MB", "50MB"))
def test_a_model_too_large_for_main_memory_is_told_the_figures(two: Connection) -> None:
    with pytest.raises(InsufficientMemory) as caught:
        two.ask(Move(name="m0", to="dram"))
    assert caught.value.details["capacity_bytes"] == 50 * MB
    assert caught.value.details["need_bytes"] == pytest.approx(80 * MB, rel=0.01)
    assert instances(two)["m0"].state == "ready"


@pytest.mark.settings(SMALL)
def test_a_model_that_idled_for_its_keep_alive_sleeps(two: Connection, home: Home) -> None:
    two.ask(Predict(model="m0", keep_alive=0.05), [b"[1.0]"])
    wait_until(lambda: instances(two)["m0"].state == "asleep")
    two.ask(Predict(model="m0", keep_alive=0.0), [b"[1.0]"])
    wait_until(lambda: not instances(two))
