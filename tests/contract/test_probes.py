"""What every probe tells, asked of the CPU's, of NVML over made-up GPUs, and of real GPUs."""

import os

import pytest

from sired.config import DeviceSettings, Settings
from sired.devices.cpu import CpuProbe
from sired.devices.fake import FakeGpu, FakeNvml
from sired.devices.inventory import Inventory
from sired.devices.nvml import NvmlProbe

GIB = 1 << 30


def two_gpus():
    return [
        FakeGpu(name="second", uuid="GPU-b", bus="00000000:41:00.0"),
        FakeGpu(name="first", uuid="GPU-a", bus="00000000:01:00.0", processes={os.getpid(): GIB}),
    ]


PROBES = {"cpu": CpuProbe, "fake-gpus": lambda: NvmlProbe(FakeNvml(two_gpus()))}


@pytest.fixture(params=[*PROBES, pytest.param("real-gpus", marks=pytest.mark.gpu)])
def probe(request):
    if request.param != "real-gpus":
        return PROBES[request.param]()
    probe = NvmlProbe()
    if not probe.find():
        pytest.skip("there is no NVIDIA GPU here")
    return probe


def test_it_finds_devices_of_its_kind_with_memory(probe):
    found = probe.find()
    assert found
    assert [hardware.index for hardware in found] == list(range(len(found)))
    assert {hardware.kind for hardware in found} == {probe.kind}
    assert all(hardware.total_bytes > 0 and hardware.model for hardware in found)


def test_it_reads_what_it_found(probe):
    for hardware in probe.find():
        reading = probe.read(hardware)
        assert 0 < reading.free_bytes <= hardware.total_bytes
        assert reading.utilization_percent is None or 0 <= reading.utilization_percent <= 100


def test_gpus_are_numbered_by_their_place_on_the_bus():
    found = NvmlProbe(FakeNvml(two_gpus())).find()
    assert [hardware.model for hardware in found] == ["first", "second"]


def test_a_machine_without_a_driver_has_no_gpus():
    assert NvmlProbe(FakeNvml(two_gpus(), driver=False)).find() == []


def test_what_a_driver_does_not_tell_is_none():
    probe = NvmlProbe(FakeNvml([FakeGpu(temperature=None, milliwatts=None, utilization=None)]))
    (hardware,) = probe.find()
    reading = probe.read(hardware)
    assert reading.temperature_celsius is reading.power_watts is reading.utilization_percent is None


def test_a_gpu_that_is_lost_cannot_be_read_and_has_no_room():
    (gpu,) = gpus = [FakeGpu()]
    inventory = Inventory([NvmlProbe(FakeNvml(gpus))], Settings())
    assert inventory.free() == {"cuda:0": 15 * GIB}
    gpu.lost = True
    assert inventory.read() == {}
    assert inventory.free() == {"cuda:0": 0}


def test_gpus_come_first_and_a_reserve_is_left_to_others():
    inventory = Inventory([NvmlProbe(FakeNvml(two_gpus())), CpuProbe()], Settings())
    assert [device.name for device in inventory.devices] == ["cuda:0", "cuda:1", "cpu"]
    assert inventory.devices[0].capacity_bytes == 16 * GIB - Settings().memory.reserve_gpu
    assert inventory.used_by("cuda:0", os.getpid()) == GIB
    assert inventory.used_by("cuda:1", os.getpid()) == 0


def configured(**devices):
    return Inventory([NvmlProbe(FakeNvml(two_gpus())), CpuProbe()], Settings(devices=devices))


def test_a_device_can_be_limited_and_switched_off():
    inventory = configured(
        **{
            "cuda:0": DeviceSettings(kind="cuda", index=0, memory=2 * GIB),
            "cuda:1": DeviceSettings(kind="cuda", index=1, enabled=False),
        }
    )
    assert [device.name for device in inventory.devices] == ["cuda:0", "cpu"]
    assert inventory.device("cuda:0").capacity_bytes == 2 * GIB


def test_parts_take_the_place_of_the_whole():
    inventory = configured(
        a=DeviceSettings(kind="cpu", memory=GIB, cores=(0,)),
        b=DeviceSettings(kind="cpu", memory=GIB // 2),
    )
    names = [device.name for device in inventory.devices]
    assert names == ["cuda:0", "cuda:1", "a", "b"]
    assert inventory.device("a").cores == (0,)
    free = inventory.free()
    assert free["a"] == free["b"]


def test_settings_that_match_no_hardware_are_a_problem_and_not_a_crash():
    inventory = configured(
        **{
            "cuda:7": DeviceSettings(kind="cuda", index=7),
            "odd": DeviceSettings(kind="cpu", memory=GIB, cores=(9999,)),
        }
    )
    assert any("cuda 7" in problem for problem in inventory.problems)
    assert any("9999" in problem for problem in inventory.problems)
