"""A driver that hangs, or is late, is asked without waiting for it."""

import threading
from pathlib import Path

import pytest

from sired.config import Settings
from sired.devices import asking
from sired.devices.asking import AskingProbe
from sired.devices.cpu import CpuProbe
from sired.devices.fake import FakeGpu, FakeNvml
from sired.devices.inventory import Inventory
from sired.devices.nvml import NvmlProbe
from tests.waiting import wait_until

GIB = 1 << 30


def asked(nvml: FakeNvml, find_seconds: float = 90.0, listed: Path = Path("/none")) -> AskingProbe:
    return AskingProbe(NvmlProbe(nvml, listed=listed), find_seconds=find_seconds)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes no answer late."""
    monkeypatch.setattr(asking.AskingThread.ask, "__defaults__", (90.0, 90.0))


def names(inventory: Inventory) -> list[str]:
    return [device.name for device in inventory.devices]


@pytest.mark.usefixtures("patient")
def test_it_answers_as_the_probe_does() -> None:
    nvml = FakeNvml([FakeGpu(processes={7: GIB})])
    probe = asked(nvml)
    (hardware,) = probe.find()
    assert probe.free(hardware) == 15 * GIB
    reading = probe.read(hardware)
    assert reading is not None
    assert reading.utilization_percent == 7
    assert probe.by_process(hardware) == {7: GIB}
    nvml.gpus[0].lost = True
    assert probe.free(hardware) is None
    failure = probe.failure(hardware)
    assert failure is not None
    assert (failure.reason, failure.gone) == ("GPU is lost", True)


def test_a_gpu_that_hangs_is_waited_for_once_and_silences_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging, sound = gpus = [FakeGpu(uuid="GPU-1", bus=1), FakeGpu(uuid="GPU-2", bus=2)]
    inventory = Inventory([asked(FakeNvml(gpus)), CpuProbe()], Settings())
    wait_until(lambda: inventory.free()["cuda:0"] == 15 * GIB)
    hanging.answers = threading.Event()
    inventory.free()
    waits: list[float | None] = []
    here = threading.current_thread()
    real = threading.Event.wait

    def noted(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout is not None and threading.current_thread() is here:
            waits.append(timeout)
        return real(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", noted)
    sound.free = 3 * GIB
    for _ in range(10):
        inventory.free()
    assert len(waits) <= 10  # none for the GPU that hangs
    wait_until(lambda: inventory.free()["cuda:1"] == 3 * GIB)
    monkeypatch.setattr(asking, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr("sired.devices.inventory.SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(asking.AskingThread.ask, "__defaults__", (0.1, 0.0))
    wait_until(lambda: inventory.free()["cuda:0"] == 0)
    assert inventory.silent["cuda:0"] == "it does not answer"
    hanging.answers.set()


def test_a_driver_that_is_always_late_gives_its_last_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(asking.AskingThread.ask, "__defaults__", (0.0, 90.0))
    (gpu,) = gpus = [FakeGpu()]
    probe = asked(FakeNvml(gpus))
    (hardware,) = wait_until(probe.find)
    wait_until(lambda: probe.free(hardware) == 15 * GIB)
    gpu.free = GIB
    wait_until(lambda: probe.free(hardware) == GIB)


def test_a_driver_that_hangs_at_the_start_is_told_and_its_gpus_adopted_later() -> None:
    (gpu,) = gpus = [FakeGpu(answers=threading.Event())]
    inventory = Inventory([asked(FakeNvml(gpus), 0.05), CpuProbe()], Settings())
    assert names(inventory) == ["cpu"]
    (problem,) = inventory.problems
    assert problem.startswith("The NVIDIA driver did not answer within 0.05 s: no GPU is used")
    assert gpu.answers is not None
    gpu.answers.set()
    assert inventory.incomplete
    wait_until(lambda: bool(inventory.look_again()))
    assert names(inventory) == ["cuda:0", "cpu"]
    assert inventory.problems == []
    wait_until(lambda: not inventory.incomplete)


def test_gpus_whose_driver_is_loaded_late_are_adopted(tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    nvml = FakeNvml([FakeGpu()], driver=False)
    inventory = Inventory([NvmlProbe(nvml, listed=tmp_path), CpuProbe()], Settings())
    assert inventory.incomplete
    assert inventory.look_again() == []
    assert "Driver Not Loaded" in inventory.problems[0]
    nvml.driver = True
    assert [device.name for device in inventory.look_again()] == ["cuda:0"]
    assert not inventory.incomplete
    assert inventory.problems == []
    assert inventory.look_again() == []
    assert inventory.free() == {"cuda:0": 15 * GIB, "cpu": inventory.free()["cpu"]}


def test_a_gpu_that_takes_the_number_of_another_is_not_adopted_under_its_name() -> None:
    nvml = FakeNvml([FakeGpu(uuid="GPU-b", bus=2)])
    inventory = Inventory([NvmlProbe(nvml), CpuProbe()], Settings())
    nvml.gpus.append(FakeGpu(uuid="GPU-a", bus=1))
    assert inventory.look_again() == []
    assert inventory.device("cuda:0").hardware.uuid == "GPU-b"
    (problem,) = inventory.problems
    assert problem.startswith("Fake GPU (GPU-a) is cuda:0 to its driver now")


def test_a_driver_that_fails_to_report_once_is_believed_to_report_as_before() -> None:
    """Models would be evicted otherwise, to make room that is there."""
    (gpu,) = gpus = [FakeGpu()]
    inventory = Inventory([NvmlProbe(FakeNvml(gpus))], Settings())
    inventory.free()
    gpu.error = "Timeout"
    assert inventory.free() == {"cuda:0": 15 * GIB}
    assert not inventory.silent
