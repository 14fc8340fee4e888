"""The checks: each says what was expected, and what was found."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pynvml
import torch

from benchmarks.gpu.first_run import models
from benchmarks.gpu.first_run.machine import Machine
from sire.units import format_bytes

MIB = 1 << 20
WIDTH = 16 * MIB  # numbers of 4 bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        expected: in words.
        run: returns whether that is so, and what was found; raises RuntimeError if a step fails.
        on_cpu: whether it can be tried without a GPU.
    """

    name: str
    expected: str
    run: Callable[[Machine], tuple[bool, str]]
    on_cpu: bool = True


def lines(machine: Machine) -> Iterator[tuple[bool | None, str]]:
    """Run every check; yields whether it passed, None if it needs a GPU, and its line."""
    for check in CHECKS:
        if not (machine.is_gpu or check.on_cpu):
            yield None, f"needs a GPU  {check.name} (expected: {check.expected})"
            continue
        began = time.perf_counter()
        try:
            passed, found = check.run(machine)
        except (RuntimeError, pynvml.NVMLError) as error:
            passed, found = False, str(error)
        seconds = time.perf_counter() - began
        word = "ok  " if passed else "FAIL"
        yield passed, f"{word} {seconds:6.1f} s  {check.name}: {found} (expected: {check.expected})"


def _driver(_: Machine) -> tuple[bool, str]:
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    began = time.perf_counter()
    for _ in range(100):
        pynvml.nvmlDeviceGetMemoryInfo(gpu)
    milliseconds = 10 * (time.perf_counter() - began)
    kept = int(pynvml.nvmlDeviceGetMemoryInfo(gpu, pynvml.nvmlMemory_v2).reserved)
    return milliseconds < 5, f"{milliseconds:.3f} ms, {format_bytes(kept)} kept by the driver"


def _answers(machine: Machine) -> tuple[bool, str]:
    machine.register("ones", {"weight": torch.ones(WIDTH)}, models.Ones, "--arg", f"width={WIDTH}")
    answer = machine.ask("ones", "[1]")
    return answer == "[2.0]", answer


def _charge(machine: Machine) -> tuple[bool, str]:
    instance = machine.instance("ones")
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(int(machine.device.partition(":")[2]))
    there = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    held = sum(one.usedGpuMemory or 0 for one in there if one.pid == instance["pid"])
    charged = int(instance["memory_bytes"])
    found = f"charged {format_bytes(charged)}, the driver says {format_bytes(held)}"
    return abs(charged - held) <= 0.05 * charged, found


def _poison(machine: Machine) -> tuple[bool, str]:
    machine.register("rows", {"table.weight": torch.ones(4, 4)}, models.Rows)
    machine.ask("rows", "[1]")
    before = machine.instance("rows")["pid"]
    failed = machine.sire("predict", "rows", "-i", "-", given="[9]").returncode
    machine.ask("rows", "[1]")
    after = machine.instance("rows")["pid"]
    return bool(failed) and before != after, f"exit {failed}, process {before}, then {after}"


def _program(machine: Machine) -> tuple[bool, str]:
    command = f"{sys.executable} {Path(__file__).with_name('program.py')} {{port}}"
    machine.must("register", "program", "--cmd", command, "--device", machine.device)
    answer = machine.ask("program", "{}")
    expected = f'{{"number":{machine.device.partition(":")[2]}}}'
    return answer.replace(" ", "") == expected, answer


def _half(machine: Machine) -> tuple[bool, str]:
    weights = {"weight": torch.ones(16 * WIDTH)}
    given = ("--arg", f"width={16 * WIDTH}", "--arg", "dtype=fp16")
    machine.register("half", weights, models.Ones, *given)
    machine.must("load", "half")
    size, charged = 32 * WIDTH, int(machine.instance("half")["memory_bytes"])
    machine.must("unload", "half")
    found = f"{format_bytes(charged)} for weights of {format_bytes(size)}"
    return charged <= size + 1024 * MIB, found


def _hungry(machine: Machine) -> tuple[bool, str]:
    machine.register("hungry", {"weight": torch.zeros(1)}, models.Hungry)
    machine.ask("ones", "[1]")
    before = machine.instance("ones")["pid"]
    machine.ask("hungry", "[0]")
    own = machine.instance("hungry")["pid"]
    code = machine.sire("predict", "hungry", "-i", "-", given="[100000]").returncode
    stays = machine.instance("hungry")["pid"] == own
    machine.ask("ones", "[1]")
    after = machine.instance("ones")["pid"]
    found = f"exit {code}, its process {'stays' if stays else 'has ended'}"
    return code == 4 and before == after and stays, f"{found}, another {before}, then {after}"


def _unused(machine: Machine) -> tuple[bool, str]:
    source = f"{models.__file__}:{models.Plain.__name__}"
    file = machine.directory / "plain"
    file.write_bytes(bytes(64 * MIB))
    machine.must(
        *("register", "plain", str(file), "--runtime", "python", "--class", source),
        *("--device", machine.device),
    )
    machine.ask("plain", "[1]")
    charged = int(machine.instance("plain")["memory_bytes"])
    return charged == 0, f"charged {format_bytes(charged)}"


def _killed(machine: Machine) -> tuple[bool, str]:
    before = int(machine.instance("ones")["pid"])
    os.kill(before, signal.SIGKILL)
    answer = machine.ask("ones", "[1]")
    after = machine.instance("ones")["pid"]
    return answer == "[2.0]" and before != after, f"{answer}, process {before}, then {after}"


def _sleeps(machine: Machine) -> tuple[bool, str]:
    machine.must("move", "ones", "dram")
    state = machine.instance("ones")["state"]
    answer = machine.ask("ones", "[1]")
    return (state, answer) == ("asleep", "[2.0]"), f"{state}, then {answer}"


def _healthy(machine: Machine) -> tuple[bool, str]:
    done = machine.sire("health")
    problems = [line for line in done.stderr.splitlines() if "warning" in line]
    return not problems, "; ".join(problems) or "no problem"


CHECKS = (
    Check("the driver answers", "below 5 ms", _driver, on_cpu=False),
    Check("a model answers", "[2.0]", _answers),
    Check("its charge is what the driver says", "within 5 %", _charge, on_cpu=False),
    Check(
        "a poisoned context is replaced",
        "a failure, then an answer of another process",
        _poison,
        on_cpu=False,
    ),
    Check("a program gets the number of its GPU", "that of the device", _program, on_cpu=False),
    Check("dtype=fp16 of 1 GiB", "at most its 512.0 MiB and 1 GiB for a process", _half),
    Check("an input too large for memory ends no process", "exit 4, the same two", _hungry),
    Check("a class that does not use its GPU", "charged nothing there", _unused, on_cpu=False),
    Check("a killed process is replaced", "[2.0] of another process", _killed),
    Check("a model sleeps and wakes", "asleep, then [2.0]", _sleeps),
    Check("the daemon is healthy", "no problem", _healthy),
)
