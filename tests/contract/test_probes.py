"""What every probe tells, asked of the CPU's, of NVML over made-up GPUs, and of real GPUs."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from sired.config import DeviceSettings, Settings, TierSettings
from sired.devices.base import Hardware, Probe
from sired.devices.cpu import CpuProbe
from sired.devices.fake import FakeGpu, FakeNvml
from sired.devices.inventory import Inventory
from sired.devices.nvml import NvmlProbe, make_unified_memory

GIB = 1 << 30


def two_gpus() -> list[FakeGpu]:
    return [
        FakeGpu(name="second", uuid="GPU-b", bus=0x41),
        FakeGpu(name="first", uuid="GPU-a", bus=0x01, processes={os.getpid(): GIB}),
    ]


PROBES: dict[str, Callable[[], Probe]] = {
    "cpu": CpuProbe,
    "fake-gpus": lambda: NvmlProbe(FakeNvml(two_gpus())),
}


@pytest.fixture(params=[*PROBES, pytest.param("real-gpus", marks=pytest.mark.gpu)])
def probe(request: pytest.FixtureRequest) -> Probe:
    if request.param != "real-gpus":
        return PROBES[request.param]()
    probe = NvmlProbe()
    if not probe.find():
        pytest.skip("there is no NVIDIA GPU here")
    return probe


def test_it_finds_devices_of_its_kind_with_memory(probe: Probe) -> None:
    found = probe.find()
    assert found
    assert [hardware.index for hardware in found] == list(range(len(found)))
    assert {hardware.kind for hardware in found} == {probe.kind}
    assert all(hardware.total_bytes > 0 and hardware.model for hardware in found)


def test_it_reads_what_it_found(probe: Probe) -> None:
    for hardware in probe.find():
        reading = probe.read(hardware)
        assert reading is not None
        assert 0 < reading.free_bytes <= hardware.total_bytes
        assert reading.utilization_percent is None or 0 <= reading.utilization_percent <= 100


def test_what_it_found_stays_the_same(probe: Probe) -> None:
    assert probe.find() == probe.find()


def test_gpus_are_numbered_by_their_place_on_the_bus() -> None:
    found = NvmlProbe(FakeNvml(two_gpus())).find()
    assert [hardware.model for hardware in found] == ["first", "second"]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("1", [1]),
        ("1, 0", [0, 1]),
        ("GPU-a", [0]),
        ("", []),
        ("-1", []),
        ("7", []),
        ("0,-1,1", [0]),
    ],
)
def test_only_gpus_the_environment_shows_are_found_and_keep_their_numbers(
    visible: str, expected: list[int]
) -> None:
    found = NvmlProbe(FakeNvml(two_gpus()), visible).find()
    assert [hardware.index for hardware in found] == expected


@pytest.mark.parametrize(("told", "kept"), [(600 << 20, 600 << 20), (None, 0)])
def test_what_the_driver_keeps_for_itself_is_no_capacity(told: int | None, kept: int) -> None:
    """Otherwise it would look like other programs' memory that may become free."""
    gpu = FakeGpu(total=80 * GIB, free=80 * GIB - kept, reserved=told)
    (device,) = Inventory([NvmlProbe(FakeNvml([gpu]))], Settings()).devices
    assert device.hardware.total_bytes == 80 * GIB
    assert device.capacity_bytes == 80 * GIB - kept - (512 << 20)


def partitioned(*uuids: str) -> FakeGpu:
    """A GPU of which a process in a container may not even read the memory."""
    instances = [FakeGpu(uuid=uuid, total=10 * GIB, free=9 * GIB) for uuid in uuids]
    return FakeGpu(uuid="GPU-a", total=None, instances=instances)


def test_instances_of_a_partitioned_gpu_are_devices_and_the_gpu_is_none() -> None:
    whole = FakeGpu(uuid="GPU-b", bus=2)
    probe = NvmlProbe(FakeNvml([partitioned("MIG-x", "MIG-y"), whole]))
    inventory = Inventory([probe, CpuProbe()], Settings())
    names = [device.name for device in inventory.devices]
    assert names == ["cuda:0.0", "cuda:0.1", "cuda:1", "cpu"]
    assert [device.hardware.uuid for device in inventory.devices[:3]] == ["MIG-x", "MIG-y", "GPU-b"]
    assert inventory.device("cuda:0.1").hardware.total_bytes == 10 * GIB
    assert inventory.free()["cuda:0.1"] == 9 * GIB
    assert inventory.problems == []


def test_an_instance_can_have_a_limit_and_its_gpu_can_be_left_out() -> None:
    limited = {"cuda:0.1": DeviceSettings(kind="cuda", index=0, memory=4 * GIB)}
    probe = NvmlProbe(FakeNvml([partitioned("MIG-x", "MIG-y")]))
    inventory = Inventory([probe], Settings(devices=limited))
    assert inventory.device("cuda:0.1").capacity_bytes == 4 * GIB
    assert inventory.device("cuda:0.0").capacity_bytes > 9 * GIB
    off = {"cuda:0": DeviceSettings(kind="cuda", index=0, enabled=False)}
    assert Inventory([probe], Settings(devices=off)).devices == []


def test_a_partitioned_gpu_without_instances_is_a_problem() -> None:
    probe = NvmlProbe(FakeNvml([partitioned()]))
    assert probe.find() == []
    (problem,) = probe.problems
    assert problem.startswith("cuda:0 is partitioned (MIG), and has no instances")


def test_an_instance_can_be_chosen_by_its_uuid() -> None:
    probe = NvmlProbe(FakeNvml([partitioned("MIG-x", "MIG-y")]), "MIG-y")
    assert [hardware.name for hardware in probe.find()] == ["cuda:0.1"]


def test_gpus_that_the_environment_of_the_daemon_hides_are_told() -> None:
    probe = NvmlProbe(FakeNvml(two_gpus()), "1")
    probe.find()
    (problem,) = probe.problems
    assert problem.startswith("CUDA_VISIBLE_DEVICES=1, with which the daemon was started, hides 1")


def test_a_machine_without_a_driver_has_no_gpus(tmp_path: Path) -> None:
    probe = NvmlProbe(FakeNvml(two_gpus(), driver=False), listed=tmp_path / "none")
    assert probe.find() == []
    assert probe.problems == []


def test_gpus_that_the_kernel_lists_and_nvml_does_not_are_a_problem_in_the_drivers_words(
    tmp_path: Path,
) -> None:
    """As after an upgrade of the driver, or where the daemon was started before it."""
    for address in ("0000:01:00.0", "0000:41:00.0"):
        (tmp_path / address).mkdir()
    probe = NvmlProbe(FakeNvml(two_gpus(), driver=False), listed=tmp_path)
    inventory = Inventory([probe, CpuProbe()], Settings())
    assert [device.name for device in inventory.devices] == ["cpu"]
    (problem,) = inventory.problems
    assert problem.startswith("2 NVIDIA GPUs are not used: NVML reports Driver Not Loaded.")


def test_a_gpu_that_does_not_report_its_memory_is_a_problem() -> None:
    probe = NvmlProbe(FakeNvml([FakeGpu(bus=1, total=None), FakeGpu(bus=2)]))
    assert len(probe.find()) == 1
    assert probe.problems[0].startswith("1 of the NVIDIA GPUs is not used")


def test_a_gpu_that_takes_no_process_is_not_used_until_its_mode_is_changed() -> None:
    prohibited, exclusive, damaged = gpus = [
        FakeGpu(bus=1, uuid="GPU-1", compute_mode=2),
        FakeGpu(bus=2, uuid="GPU-2", compute_mode=3),
        FakeGpu(bus=3, uuid="GPU-3", remapped=(0, 1, 0, 1)),
    ]
    probe = NvmlProbe(FakeNvml(gpus))
    inventory = Inventory([probe], Settings())
    assert [device.name for device in inventory.devices] == ["cuda:1", "cuda:2"]
    assert [problem.partition(":")[2][:28] for problem in inventory.problems] == [
        "0 is not used: it prohibits ",
        "1 takes one process at a tim",
        "2 is damaged and cannot be r",
    ]
    prohibited.compute_mode = exclusive.compute_mode = 0
    damaged.remapped = None  # as of GPUs that remap nothing
    assert [device.name for device in inventory.look_again()] == ["cuda:0"]
    assert inventory.problems == []


def test_only_a_gpu_that_is_gone_is_lost_and_one_that_is_not_reported_on_keeps_its_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container NVML answers Unknown Error after the host's systemd was reloaded."""
    monkeypatch.setattr("sired.devices.inventory.SILENCE_SECONDS", 0.0)
    first, second = gpus = two_gpus()
    inventory = Inventory([NvmlProbe(FakeNvml(gpus))], Settings())
    second.error, first.lost = "Unknown Error", True
    assert inventory.free() == {"cuda:0": 0, "cuda:1": 0}
    assert inventory.silent == {"cuda:0": "Unknown Error"}
    assert inventory.lost == {"cuda:1"}
    second.error, first.lost = "", False
    assert inventory.free() == {"cuda:0": 15 * GIB, "cuda:1": 15 * GIB}
    assert not inventory.silent
    assert not inventory.lost


def test_what_a_driver_does_not_tell_is_none() -> None:
    probe = NvmlProbe(FakeNvml([FakeGpu(temperature=None, milliwatts=None, utilization=None)]))
    (hardware,) = probe.find()
    reading = probe.read(hardware)
    assert reading is not None
    assert reading.temperature_celsius is reading.power_watts is reading.utilization_percent is None


def test_a_gpu_that_cannot_be_addressed_or_measured_is_left_out_and_keeps_its_number() -> None:
    gpus = [FakeGpu(bus=1, uuid=None), FakeGpu(bus=2, total=None), FakeGpu(bus=3, name=None)]
    (hardware,) = NvmlProbe(FakeNvml(gpus)).find()
    assert (hardware.index, hardware.model) == (2, "NVIDIA GPU")


def test_a_gpu_that_was_lost_before_is_no_harm_to_the_others() -> None:
    (hardware,) = NvmlProbe(FakeNvml([FakeGpu(lost=True), FakeGpu(name="sound")])).find()
    assert hardware.model == "sound"


def processes(probe: NvmlProbe, hardware: Hardware) -> Mapping[int, int]:
    """The bytes that each process holds."""
    reading = probe.read(hardware)
    assert reading is not None
    return reading.by_process


def test_processes_that_draw_count_like_those_that_compute() -> None:
    gpu = FakeGpu(processes={1: GIB, 2: None}, drawing={1: GIB, 3: 5})
    probe = NvmlProbe(FakeNvml([gpu]))
    (hardware,) = probe.find()
    assert processes(probe, hardware) == {1: GIB, 3: 5}
    gpu.processes = gpu.drawing = None
    assert processes(probe, hardware) == {}


def test_a_gpu_that_is_lost_cannot_be_read_and_has_no_room() -> None:
    (gpu,) = gpus = [FakeGpu()]
    inventory = Inventory([NvmlProbe(FakeNvml(gpus))], Settings())
    assert inventory.free() == {"cuda:0": 15 * GIB}
    gpu.lost = True
    assert inventory.read() == {}
    assert inventory.free() == {"cuda:0": 0}


def test_gpus_come_first_and_a_reserve_is_left_to_others() -> None:
    inventory = Inventory([NvmlProbe(FakeNvml(two_gpus())), CpuProbe()], Settings())
    assert [device.name for device in inventory.devices] == ["cuda:0", "cuda:1", "cpu"]
    assert inventory.devices[0].capacity_bytes == 16 * GIB - Settings().memory.reserve_gpu
    assert inventory.used_by("cuda:0", os.getpid()) == GIB
    assert inventory.used_by("cuda:1", os.getpid()) == 0


def configured(**devices: Any) -> Inventory:
    return Inventory([NvmlProbe(FakeNvml(two_gpus())), CpuProbe()], Settings(devices=devices))


def test_a_device_can_be_limited_and_switched_off() -> None:
    inventory = configured(
        **{
            "cuda:0": DeviceSettings(kind="cuda", index=0, memory=2 * GIB),
            "cuda:1": DeviceSettings(kind="cuda", index=1, enabled=False),
        }
    )
    assert [device.name for device in inventory.devices] == ["cuda:0", "cpu"]
    assert inventory.device("cuda:0").capacity_bytes == 2 * GIB


def test_parts_take_the_place_of_the_whole() -> None:
    inventory = configured(
        a=DeviceSettings(kind="cpu", memory=GIB, cores=(0,)),
        b=DeviceSettings(kind="cpu", memory=GIB // 2),
    )
    names = [device.name for device in inventory.devices]
    assert names == ["cuda:0", "cuda:1", "a", "b"]
    assert inventory.device("a").cores == (0,)
    free = inventory.free()
    assert free["a"] == free["b"]


def test_main_memory_for_sleepers_is_taken_off_the_cpu_whether_models_run_there_or_not() -> None:
    settings = Settings(tiers=TierSettings(dram=1 << 20))
    inventory = Inventory([CpuProbe()], settings)
    (cpu,) = inventory.devices
    kept = settings.memory.reserve_cpu + (1 << 20)
    assert cpu.capacity_bytes == cpu.hardware.total_bytes - kept
    off = {"cpu": DeviceSettings(kind="cpu", enabled=False)}
    free = Inventory([CpuProbe()], Settings(devices=off)).main_memory_free()
    assert free is not None
    assert free > 0


def test_more_memory_for_sleepers_than_there_is_is_a_problem() -> None:
    (problem,) = Inventory([CpuProbe()], Settings(tiers=TierSettings(dram=1 << 60))).problems
    assert problem.startswith("tiers.dram: ")


def test_parts_that_are_switched_off_leave_the_whole() -> None:
    inventory = configured(a=DeviceSettings(kind="cpu", memory=GIB, enabled=False))
    assert [device.name for device in inventory.devices] == ["cuda:0", "cuda:1", "cpu"]


def test_a_part_of_unknown_size_is_a_problem() -> None:
    inventory = configured(a=DeviceSettings(kind="cpu"), b=DeviceSettings(kind="cpu", memory=GIB))
    assert [device.name for device in inventory.devices] == ["cuda:0", "cuda:1", "b"]
    assert inventory.problems == [
        'devices.a: a part of a device needs its memory, such as memory = "2GiB"'
    ]


def test_parts_that_are_more_than_the_whole_are_a_problem() -> None:
    inventory = configured(
        a=DeviceSettings(kind="cuda", memory=9 * GIB), b=DeviceSettings(kind="cuda", memory=9 * GIB)
    )
    assert inventory.problems == ["devices.a, devices.b: 18 GiB exceeds the 15.5 GiB of the device"]


def test_gpus_come_first_whatever_the_order_of_the_probes() -> None:
    inventory = Inventory([CpuProbe(), NvmlProbe(FakeNvml(two_gpus()))], Settings())
    assert [device.name for device in inventory.devices] == ["cuda:0", "cuda:1", "cpu"]


def test_a_whole_and_its_parts_are_read_once() -> None:
    class Counting(NvmlProbe):
        reads = 0

        def read(self, hardware: Hardware) -> Any:
            self.reads += 1
            return super().read(hardware)

    probe = Counting(FakeNvml([FakeGpu()]))
    half = DeviceSettings(kind="cuda", memory=GIB)
    inventory = Inventory([probe], Settings(devices={"a": half, "b": half}))
    assert set(inventory.read()) == {"a", "b"}
    assert probe.reads == 1


def test_settings_that_match_no_hardware_are_a_problem_and_not_a_crash() -> None:
    inventory = configured(
        **{
            "cuda:7": DeviceSettings(kind="cuda", index=7),
            "odd": DeviceSettings(kind="cpu", memory=GIB, cores=(9999,)),
        }
    )
    assert any("cuda 7" in problem for problem in inventory.problems)
    assert any("9999" in problem for problem in inventory.problems)


def write_group(directory: Path, **files: Any) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


@pytest.fixture
def limited_by_version_2(tmp_path: Path) -> CpuProbe:
    """In a group without a limit of its own, below one of 1 GiB that uses half, mostly cache."""
    (tmp_path / "membership").write_text("0::/batch/job\n")
    stat = f"anon {GIB // 8}\ninactive_file {GIB // 8}\nactive_file {GIB // 4}\n"
    used = {"memory__current": f"{GIB // 2}\n", "memory__stat": stat}
    write_group(tmp_path / "batch", memory__max=f"{GIB}\n", **used)
    write_group(tmp_path / "batch/job", memory__max="max\n", **used)
    return CpuProbe(tmp_path / "membership", tmp_path)


@pytest.fixture
def limited_by_version_1(tmp_path: Path) -> CpuProbe:
    """The same in version 1, the path being the host's: only the mount itself is to be seen."""
    (tmp_path / "membership").write_text("5:cpu:/\n4:memory:/docker/0123\n0::/\n")
    write_group(
        tmp_path / "memory",
        memory__limit_in_bytes=f"{GIB}\n",
        memory__usage_in_bytes=f"{GIB // 2}\n",
        memory__stat=f"total_inactive_file {GIB // 8}\ntotal_active_file {GIB // 4}\n",
    )
    return CpuProbe(tmp_path / "membership", tmp_path)


@pytest.mark.parametrize("version", ["limited_by_version_1", "limited_by_version_2"])
def test_the_limit_of_a_control_group_is_the_cpus_and_its_file_cache_is_free(
    version: str, request: pytest.FixtureRequest
) -> None:
    probe = request.getfixturevalue(version)
    (hardware,) = probe.find()
    assert hardware.total_bytes == GIB
    assert probe.read(hardware).free_bytes == GIB - GIB // 8


def test_a_machine_without_control_groups_has_all_of_its_memory(tmp_path: Path) -> None:
    (hardware,) = CpuProbe(tmp_path / "none", tmp_path).find()
    assert hardware.total_bytes == psutil.virtual_memory().total


def test_the_drivers_device_for_cuda_is_made_while_somebody_may_gain_the_rights_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidia-uvm"
    program = tmp_path / "nvidia-modprobe"
    program.write_text(f'#!/bin/sh\necho "$@" >> {device}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    make_unified_memory(device)
    make_unified_memory(device)  # it is there by now
    assert device.read_text() == "-c=0 -u\n"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    make_unified_memory(tmp_path / "nowhere")  # no driver, or one that needs no such program


def test_a_gpu_without_the_device_that_cuda_needs_is_a_problem_with_its_remedy(
    tmp_path: Path,
) -> None:
    listed, device = tmp_path / "gpus", tmp_path / "nvidia-uvm"
    assert make_unified_memory(device, listed) == ""  # as on WSL2
    listed.mkdir()
    assert "sudo modprobe nvidia-uvm" in make_unified_memory(device, listed)
    device.touch()
    assert make_unified_memory(device, listed) == ""
