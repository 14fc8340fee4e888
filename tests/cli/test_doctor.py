"""What `sire doctor` finds on a badly set up machine."""

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sire_cli.doctor.gpus import gpus, supports
from sire_cli.doctor.machine import shared_memory
from sire_cli.doctor.packages import Versions, cuda_versions, onnxruntime_twice
from sire_cli.doctor.running import driver
from sired.devices.fake import FakeGpu, FakeNvml
from tests.home import Home

pytestmark = pytest.mark.own_daemon


def found(
    home: Home, code: int = 0, env: dict[str, str] | None = None
) -> dict[str, dict[str, str]]:
    done = home.sire("doctor", "--json", code=code, env=env)
    return {one["check"]: one for one in json.loads(done.stdout)}


def test_all_is_well_where_a_daemon_runs(home: Home) -> None:
    home.sire("daemon", "start")
    findings = found(home)
    assert {one["state"] for one in findings.values()} <= {"ok", "warning"}
    assert findings["daemon"]["found"].startswith("version ")
    lines = home.sire("doctor").stdout.decode().splitlines()
    assert len(lines) == len(findings)


def test_each_problem_is_reported_with_what_to_do(home: Home, tmp_path: Path) -> None:
    home.configure("[daemon]\ngracee = 1\n")
    findings = found(home, code=1)
    assert findings["settings"]["advice"] == "Did you mean daemon.grace?"
    findings = found(home, code=1, env={"SIRE_HOME": f"/tmp/{'long' * 30}"})
    assert findings["socket"]["state"] == "problem"
    assert "SIRE_HOME" in findings["socket"]["advice"]
    (tmp_path / "file").touch()
    findings = found(home, code=1, env={"SIRE_HOME": str(tmp_path / "file")})
    assert "is not writable" in findings["directories"]["found"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_is_a_problem(home: Home, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    findings = found(home, code=1, env={"SIRE_HOME": str(tmp_path)})
    assert "chmod" in findings["directories"]["advice"]


def test_a_small_limit_of_open_files_is_a_warning(home: Home) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4096))

    command = [sys.executable, "-m", "sire_cli", "doctor"]
    done = subprocess.run(command, env=home.environment, capture_output=True, preexec_fn=limit)
    (line,) = [line for line in done.stdout.decode().splitlines() if "open files" in line]
    assert line.startswith("warning")
    assert "ulimit -n 4096" in line


def test_a_unit_that_ends_with_the_last_logout_is_a_warning(home: Home, tmp_path: Path) -> None:
    (tmp_path / "systemd" / "user").mkdir(parents=True)
    (tmp_path / "systemd" / "user" / "sired.service").touch()
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "loginctl").write_text("#!/bin/sh\necho no\n")
    (bin_ / "loginctl").chmod(0o755)
    env = {"XDG_CONFIG_HOME": str(tmp_path), "PATH": f"{bin_}:{os.environ['PATH']}"}
    assert "loginctl enable-linger" in found(home, env=env)["linger"]["advice"]


def test_onnxruntime_installed_twice_is_a_problem() -> None:
    both = onnxruntime_twice(Versions("2.13", None, "1.23.0", "1.23.0", "12"))
    assert both.state == "problem"
    assert "pip uninstall" in both.advice
    assert onnxruntime_twice(Versions("2.13", None, None, None, None)).state == "problem"
    assert onnxruntime_twice(Versions("2.13", None, "1.23.0", None, None)).state == "ok"


@pytest.mark.parametrize(
    ("installed", "driver", "state", "said"),
    [
        (Versions("2.13", None, None, "1.31", "13"), None, "ok", "CPU only"),
        (Versions("2.13", None, None, "1.31", "13"), (13, 0), "warning", "cannot use the GPUs"),
        (
            Versions("2.13", "13.0", None, "1.31", "13"),
            (12, 4),
            "problem",
            "supports CUDA only up to 12.4",
        ),
        (Versions("2.13", "12.8", None, "1.31", "13"), (13, 0), "warning", "different CUDA"),
        (Versions("2.13", "13.0", None, "1.31", "13"), (13, 1), "ok", "driver for CUDA 13.1"),
        (Versions("2.13", "13.0", "1.31", None, None), (13, 1), "warning", "ONNX models"),
        (Versions(None, None, "1.31", None, None), None, "problem", "torch is not installed"),
    ],
)
def test_versions_that_do_not_fit_each_other_are_told(
    installed: Versions, driver: tuple[int, int] | None, state: str, said: str
) -> None:
    finding = cuda_versions(installed, driver)
    assert (finding.state, said in finding.found) == (state, True)
    assert bool(finding.advice) == (state != "ok")


def test_a_driver_that_is_there_and_silent_is_a_problem(tmp_path: Path) -> None:
    finding = driver("Driver/library version mismatch", tmp_path)
    assert finding.state == "problem"
    assert finding.found.endswith("does not respond: Driver/library version mismatch")
    assert driver("Driver Not Loaded", tmp_path / "none").state == "ok"


def test_no_shared_memory_is_a_warning(tmp_path: Path) -> None:
    assert shared_memory(tmp_path / "none").state == "warning"


BUILT_FOR = ("sm_75", "sm_80", "sm_90", "sm_100", "compute_100")


@pytest.mark.parametrize(
    ("gpu", "found", "advice"),
    [
        (FakeGpu(compute_mode=3), "cuda:0 takes one process at a time", "--compute-mode=DEFAULT"),
        (FakeGpu(compute_mode=2), "cuda:0 prohibits computing", "--compute-mode=DEFAULT"),
        (FakeGpu(capability=(7, 0)), "whose compute capability is 7.0", "Install a torch"),
        (FakeGpu(remapped=(0, 1, 1, 0)), "memory of cuda:0 is to be remapped", "reset the GPU"),
        (FakeGpu(remapped=(0, 9, 1, 1)), "is damaged and cannot be remapped", "Replace the GPU"),
        (
            FakeGpu(instances=[]),
            "cuda:0 is partitioned (MIG), and has no instances",
            "mig -i 0 -cgi",
        ),
        (FakeGpu(total=None), "does not report the memory of cuda:0", "hardware.md"),
    ],
)
def test_a_gpu_that_cannot_compute_is_a_problem(gpu: FakeGpu, found: str, advice: str) -> None:
    finding = gpus(BUILT_FOR, FakeNvml([gpu, FakeGpu()]))
    assert finding.state == "problem"
    assert found in finding.found
    assert advice in finding.advice


def test_what_differs_and_works_all_the_same_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hidden GPUs, process ids that a container numbers anew, WSL2's limit on pinned memory."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    kernel = tmp_path / "version"
    kernel.write_text("Linux version 6.6.87.2-microsoft-standard-WSL2")
    nvml = FakeNvml([FakeGpu(processes={1 << 30: 4096}), FakeGpu(instances=[FakeGpu()])])
    finding = gpus(BUILT_FOR, nvml, kernel=kernel)
    assert finding.state == "warning"
    for words in ("numbers processes otherwise", "DEVICES=1 hides", "WSL2 limits"):
        assert words in finding.found
    for words in ("--pid=host", "unset CUDA_VISIBLE_DEVICES"):
        assert words in finding.advice
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    kernel.write_text("Linux version 6.12.0")
    known = FakeNvml([FakeGpu(processes={os.getpid(): 4096})])
    assert gpus(BUILT_FOR, known, kernel=kernel).state == "ok"


def test_gpus_are_named_by_their_place_on_the_bus_as_the_daemon_does() -> None:
    second, first = FakeGpu(bus=9, compute_mode=3), FakeGpu(bus=2)
    assert "cuda:1 takes one process" in gpus(BUILT_FOR, FakeNvml([second, first])).found


def test_gpus_that_report_little_are_taken_to_be_ready() -> None:
    silent = FakeGpu(compute_mode=None, remapped=None)
    assert gpus((), FakeNvml([silent, FakeGpu()])).found == "2, ready to compute"
    assert gpus((), FakeNvml([])).state == "ok"
    assert gpus((), FakeNvml([], driver=False)).state == "ok"


def test_gpus_that_the_kernel_lists_and_the_driver_does_not_are_a_problem_in_its_words(
    tmp_path: Path,
) -> None:
    finding = gpus((), FakeNvml([], driver=False), listed=tmp_path)
    assert finding.state == "problem"
    assert finding.found.endswith("does not report: Driver Not Loaded")


def test_a_driver_that_hangs_does_not_hold_the_examination_up(tmp_path: Path) -> None:
    never = threading.Event()
    nvml = FakeNvml([FakeGpu(answers=never)])
    finding = gpus((), nvml, listed=tmp_path, seconds=0.1)
    never.set()
    assert finding.found.endswith("does not report: no answer within 0.1 s")


def test_a_missing_device_file_of_cuda_is_a_problem(tmp_path: Path) -> None:
    nvml, device = FakeNvml([FakeGpu()]), tmp_path / "nvidia-uvm"
    assert "modprobe nvidia-uvm" in gpus((), nvml, unified=device, listed=tmp_path).advice
    device.touch()
    assert gpus((), nvml, unified=device, listed=tmp_path).state == "ok"


def test_code_for_gpus_runs_on_those_of_its_major_version_and_portable_code_on_newer_ones() -> None:
    assert supports(BUILT_FOR, (8, 6))
    assert supports(BUILT_FOR, (12, 0))
    assert not supports(BUILT_FOR[:-1], (12, 0))
    assert not supports(BUILT_FOR, (7, 0))
    assert supports(("sm_90a",), (9, 0))
