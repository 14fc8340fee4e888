"""The main job on a real GPU; skipped where there is none."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire import ModelManager
from tests.home import Home

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.own_daemon,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

GIB = 1 << 30


def test_a_model_answers_from_the_gpu_and_its_memory_is_charged_there(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--device", "cuda:0")
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[1, 2, 3, 4]")
    assert json.loads(answer.stdout) == [2, 4, 6, 8]
    (instance,) = home.json("ps")
    assert instance["device"] == "cuda:0"
    devices = {device["name"]: device for device in home.json("devices")["devices"]}
    # A CUDA context alone takes hundreds of MB: what is charged is what the driver says.
    assert devices["cuda:0"]["used_bytes"] > 100 << 20


def test_inputs_that_were_sent_ahead_are_answered_as_others_are(home: Home, tmp_path: Path) -> None:
    from sired.runtimes.pytorch.runtime import PyTorchRuntime

    (tmp_path / "linear.py").write_text(
        "import torch\n"
        "class Linear(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(4096, 4096)\n"
    )
    torch.manual_seed(0)
    save_file(torch.nn.Linear(4096, 4096).state_dict(), tmp_path / "w.safetensors")
    runtime = PyTorchRuntime()
    where = {"format": "safetensors", "model_class": f"{tmp_path}/linear.py:Linear"}
    model = runtime.load(str(tmp_path / "w.safetensors"), device="cuda:0", **where)
    inputs = [np.random.default_rng().random((2048, 4096)).astype(np.float32) for _ in range(8)]
    sent = [runtime.prepare(model, data) for data in inputs]
    for data, ahead in zip(inputs, sent, strict=True):
        assert np.array_equal(runtime.predict(model, ahead), runtime.predict(model, data))


def test_requests_computed_together_are_answered_as_alone(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2, "Scale", "--device", "cuda:0", "--concurrency", "3")
    with ModelManager(home=home.path) as manager:
        rows = [np.random.default_rng().random((512, 4)).astype(np.float32) for _ in range(64)]
        answers = [manager.submit_async("m", data) for data in rows]
        for data, answer in zip(rows, answers, strict=True):
            assert np.array_equal(answer.result(60), 2 * data)


def test_models_that_do_not_fit_together_take_turns_on_a_gpu(home: Home, tmp_path: Path) -> None:
    home.configure('[devices."cuda:0"]\nmemory = "4GiB"\n')
    (tmp_path / "big.py").write_text(
        "import torch\n"
        "class Big(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Parameter(torch.empty(1, 268435456))\n"
        "    def forward(self, x):\n"
        "        return x + self.table[:, 0]\n"
    )
    for number in range(3):
        table = torch.full((1, 268_435_456), float(number))
        save_file({"table": table}, tmp_path / f"{number}.safetensors")
        weights, kind = tmp_path / f"{number}.safetensors", f"{tmp_path}/big.py:Big"
        home.register(f"m{number}", weights, "--class", kind, "--device", "cuda:0")
    for number in (0, 1, 2, 0, 2, 1):
        answer = home.sire("predict", f"m{number}", "-i", "-", stdin=b"[1]")
        assert json.loads(answer.stdout) == [number + 1]
    totals = home.json("stats")["totals"]
    assert totals["evictions"] > 0
    assert totals["errors"] == 0


def test_weights_streamed_to_a_gpu_are_what_the_file_holds(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from sired.runtimes.pytorch.streaming import stream_safetensors
    from sired.runtimes.reading import ReadProgress

    weights = {f"w{n}": torch.randn(3_000_000 + n) for n in range(12)}
    save_file(weights, tmp_path / "w.safetensors")
    progress = ReadProgress()
    path, gpu = str(tmp_path / "w.safetensors"), torch.device("cuda:0")
    streamed = stream_safetensors(path, gpu, progress)
    assert progress.done == progress.total == sum(w.nbytes for w in weights.values())
    for name, tensor in load_file(path).items():
        assert torch.equal(streamed[name].cpu(), tensor), name


def test_a_worker_that_stands_by_has_a_context_and_a_load_takes_it_over(
    home: Home, register: Callable[..., Any]
) -> None:
    import time

    home.configure('[devices."cuda:0"]\nstandby = 1\n')
    register("m", 2, "Scale", "--device", "cuda:0")
    deadline = time.monotonic() + 60
    while home.json("devices")["devices"][0]["standby"] < 1:
        assert time.monotonic() < deadline
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[1, 2, 3, 4]")
    assert json.loads(answer.stdout) == [2, 4, 6, 8]


def test_two_models_loaded_at_once_are_each_charged_what_they_take(
    home: Home, register: Callable[..., Any], tmp_path: Path
) -> None:
    import subprocess
    import sys

    (tmp_path / "table.py").write_text(
        "import torch\n"
        "class Table(torch.nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Parameter(torch.empty(width))\n"
        "    def forward(self, x):\n"
        "        return x + self.table[0]\n"
    )
    widths = {"small": GIB // 8, "large": GIB // 2}
    for name, width in widths.items():
        save_file({"table": torch.ones(width)}, tmp_path / f"{name}.safetensors")
        weights, kind = tmp_path / f"{name}.safetensors", f"{tmp_path}/table.py:Table"
        arguments = ("--class", kind, "--arg", f"width={width}", "--device", "cuda:0")
        home.register(name, weights, *arguments)
    command = [sys.executable, "-m", "sire_cli", "load"]
    loads = [subprocess.Popen([*command, name], env=home.environment) for name in widths]
    assert [load.wait(120) for load in loads] == [0, 0]
    charged = {one["model"]: one["memory_bytes"] for one in home.json("ps")}
    # The contexts are alike, so they differ by their weights.
    difference = 4 * (widths["large"] - widths["small"])
    assert charged["large"] - charged["small"] == pytest.approx(difference, rel=0.1)


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, str]:
    """The path of a class and of weights of 2 GiB, of which an answer shows one number."""
    (tmp_path / "table.py").write_text(
        "import torch\n"
        "class Table(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.rows = torch.nn.Parameter(torch.empty(8, 67108864))\n"
        "    def forward(self, x):\n"
        "        return x + self.rows[3, -1]\n"
    )
    save_file({"rows": torch.full((8, 67_108_864), 4.0)}, tmp_path / "table.safetensors")
    return tmp_path / "table.safetensors", f"{tmp_path}/table.py:Table"


def test_a_sleeper_leaves_its_gpu_but_for_the_context_and_answers_again(
    home: Home, table: Any
) -> None:
    home.configure('[tiers]\ndram = "4GiB"\n')
    weights, kind = table
    home.register("m", weights, "--class", kind, "--device", "cuda:0")
    assert json.loads(home.sire("predict", "m", "-i", "-", stdin=b"[1]").stdout) == [5]
    (awake,) = home.json("ps")
    asleep = home.json("move", "m", "dram")
    assert asleep["pid"] == awake["pid"]
    # Page tables of the memory that was pinned stay.
    assert asleep["memory_bytes"] <= awake["memory_bytes"] - 2 * GIB + (64 << 20)
    assert asleep["dram_bytes"] >= 2 * GIB
    devices = {device["name"]: device for device in home.json("devices")["devices"]}
    assert devices["cuda:0"]["used_bytes"] == asleep["memory_bytes"]
    assert json.loads(home.sire("predict", "m", "-i", "-", stdin=b"[1]").stdout) == [5]
    (again,) = home.json("ps")
    assert (again["pid"], again["state"]) == (awake["pid"], "ready")
    (stats,) = home.json("stats")["models"]
    assert (stats["loads"], stats["wakes"]) == (1, 1)


def test_waking_copies_at_four_fifths_of_what_pinned_memory_can_do(table: Any) -> None:
    from sired.runtimes.pytorch.runtime import PyTorchRuntime

    weights, kind = table
    runtime = PyTorchRuntime()
    model = runtime.load(str(weights), device="cuda:0", format="safetensors", model_class=kind)
    before = torch.cuda.memory_reserved()
    waking = []
    for _ in range(3):
        runtime.sleep(model)
        assert torch.cuda.memory_reserved() <= before - 2 * GIB
        waking.append(seconds_of(lambda: runtime.wake(model)))
    host = torch.empty(2 * GIB, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")
    best = min(seconds_of(lambda: device.copy_(host, non_blocking=True)) for _ in range(3))
    print(f"waking: {2 / min(waking):.1f} GiB/s of {2 / best:.1f} GiB/s")
    assert min(waking) <= best / 0.8


def seconds_of(action: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - began
