"""What a worker is charged is what it really holds. Each measurement has a process of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sired.devices.fake import FakeGpu, FakeNvml
from sired.runtimes.base import InferenceRuntime
from sired.workers.child.gpu_memory import GpuLoadMeter, GpuMeter, measured_context
from sired.workers.child.program import ProgramMeter

MIB = 1 << 20

PROLOGUE = """
import mmap, os, sys, tempfile
from sired.workers.child.cpu_memory import CpuMeter
MIB = 1 << 20

def filled(mebibytes):
    memory = mmap.mmap(-1, mebibytes * MIB)  # like the large blocks of any allocator
    touch(memory)
    return memory

def touch(memory):
    for offset in range(0, len(memory), 4096):
        memory[offset] = 1

def mapped(mebibytes):
    file = tempfile.TemporaryFile(dir=os.getcwd())
    file.write(os.urandom(MIB) * mebibytes)
    file.flush()
    return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

def read_all(memory):
    return sum(memory[offset] for offset in range(0, len(memory), 4096))

# Forked like a worker: the mark of a process that was executed knows what ran before.
if os.fork():
    os.wait()
    sys.exit()
"""


@pytest.fixture
def measured(tmp_path: Path) -> Callable[[str], list[float]]:
    """Run a piece of code in a fresh process; what it prints are numbers of MiB."""

    def _measured(code: str) -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", PROLOGUE + code],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            timeout=60,
        )
        return [int(number) / MIB for number in done.stdout.split()]

    return _measured


def test_what_a_model_allocates_is_measured(measured: Callable[[str], list[float]]) -> None:
    before, held = measured(
        "meter = CpuMeter(); before = meter.settle(0)\n"
        "weights = filled(200)\n"
        "print(before, meter.settle(0))"
    )
    assert held - before == pytest.approx(200, rel=0.1)


def test_weights_that_are_mapped_but_not_read_yet_are_charged_in_advance(
    measured: Callable[[str], list[float]],
) -> None:
    before, held, after = measured(
        "meter = CpuMeter(); before = meter.settle(0)\n"
        "weights = mapped(100)\n"
        "held = meter.settle(100 * MIB)\n"
        "read_all(weights)\n"
        "print(before, held, meter.peak())"
    )
    assert held - before == pytest.approx(100, rel=0.1)
    # Reading them brings in what is charged already.
    assert after == pytest.approx(held, rel=0.1)


def test_what_inference_needs_comes_on_top_of_weights_read_meanwhile(
    measured: Callable[[str], list[float]],
) -> None:
    held, peak, later = measured(
        "meter = CpuMeter()\n"
        "weights = mapped(100)\n"
        "held = meter.settle(100 * MIB)\n"
        "read_all(weights)\n"
        "activations = filled(50); activations.close()\n"
        "peak = meter.peak()\n"
        "activations = filled(20); activations.close()\n"
        "print(held, peak, meter.peak())"
    )
    assert peak - held == pytest.approx(50, rel=0.1)
    assert later == peak


def test_a_peak_while_loading_does_not_hide_the_peaks_of_inference(
    measured: Callable[[str], list[float]],
) -> None:
    held, peak = measured(
        "meter = CpuMeter()\n"
        "buffer = filled(300); buffer.close()\n"
        "held = meter.settle(0)\n"
        "activations = filled(100); activations.close()\n"
        "print(held, meter.peak())"
    )
    assert held < 50
    assert peak - held == pytest.approx(100, rel=0.1)


def test_pages_shared_with_the_zygote_cost_nothing(measured: Callable[[str], list[float]]) -> None:
    held, peak = measured(
        "library = mapped(100); read_all(library)\n"
        "if os.fork() == 0:\n"
        "    meter = CpuMeter()\n"
        "    held = meter.settle(0)\n"
        "    read_all(library)\n"
        "    activations = filled(30); activations.close()\n"
        "    print(held, meter.peak(), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()"
    )
    assert held < 50
    assert peak - held == pytest.approx(30, rel=0.1)


def test_pages_that_a_killed_zygote_leaves_to_its_last_worker_cost_nothing(
    measured: Callable[[str], list[float]],
) -> None:
    before, after, loaded_later = measured(
        "from sired.workers.child.cpu_memory import Inherited\n"
        "own = bytearray(os.urandom(MIB) * 64)\n"
        "Inherited.take()\n"
        "asked, ask = os.pipe()\n"
        "if os.fork():\n"
        "    os.read(asked, 1)\n"
        "    os._exit(0)\n"
        "written = bytearray(os.urandom(MIB) * 8)\n"
        "meter, late = CpuMeter(), CpuMeter()\n"
        "print(meter.settle(0), flush=True)\n"
        "zygote = os.getppid()\n"
        "os.write(ask, b'x')\n"
        "while os.getppid() == zygote: pass\n"
        "meter.forget_peak()\n"
        "print(meter.asleep(0), flush=True)\n"
        "print(late.settle(0), flush=True)\n"
    )
    assert 8 < before < 40
    assert abs(after - before) < 4
    assert abs(loaded_later - before) < 4


def test_memory_freed_while_loading_is_not_counted(measured: Callable[[str], list[float]]) -> None:
    before, held = measured(
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p; libc.free.argtypes = [ctypes.c_void_p]\n"
        "meter = CpuMeter(); before = meter.settle(0)\n"
        # Blocks too small to be mapped singly, with one kept above them.
        "blocks = [libc.malloc(64 * 1024) for _ in range(1600)]\n"
        "for block in blocks: ctypes.memset(block, 1, 64 * 1024)\n"
        "last = libc.malloc(64)\n"
        "for block in blocks: libc.free(block)\n"
        "print(before, meter.settle(0))"
    )
    assert held - before < 10


class Reserving(InferenceRuntime):
    """A runtime whose allocator has reserved what it is told."""

    name = "reserving"
    reserved = 0

    def load(self, model_path: Any, **kwargs: Any) -> Any:
        return None

    def predict(self, model: Any, data: Any) -> Any:
        return data

    def get_memory_footprint(self, model: Any) -> int:
        return 0

    def peak_device_memory(self) -> int:
        return self.reserved


class Gpu:
    """A made-up GPU with others' 5000 bytes on it, and meters of workers that load there.

    ``users`` are the processes that have a CUDA context; None if that cannot be told.
    """

    def __init__(self, lock: Any, **described: Any) -> None:
        self.there = FakeGpu(total=16_000, free=11_000, **described)
        self.users: list[int] | None = None
        self._lock = lock
        self._nvml = FakeNvml([self.there])
        assert self.there.uuid is not None
        self._uuid = self.there.uuid

    def meter(
        self,
        runtime: Any = None,
        held: int = 0,
        clock: Any = time.monotonic,
        waiting: Callable[[], Any] = lambda: None,
    ) -> "GpuMeter":
        share = GpuLoadMeter(self._uuid, self._lock, self._nvml, held, waiting)
        return GpuMeter(share, runtime or Reserving(), clock, self._uses)

    def _uses(self, pids: Sequence[int]) -> bool:
        return self.users is None or not set(self.users).isdisjoint(pids)

    def report(self, size: int) -> None:
        """Have the driver report that this process holds that many bytes."""
        assert self.there.processes is not None
        self.there.processes[os.getpid()] = size

    def context(self, size: int) -> int:
        """Open a context of N bytes, as a standby worker does."""

        def open_context() -> None:
            self.there.free -= size

        return measured_context(self._uuid, self._lock, open_context, self._nvml)


@pytest.fixture
def make_gpu(tmp_path: Path) -> Callable[..., Gpu]:
    return lambda **described: Gpu(tmp_path / "gpu.load", **described)


def test_a_gpu_worker_is_charged_its_context_too_and_keeps_it_at_its_peak(
    make_gpu: Callable[..., Gpu],
) -> None:
    runtime = Reserving()
    meter = make_gpu(processes={os.getpid(): 450, 1: 5000}).meter(runtime)
    runtime.reserved = 100
    assert meter.settle(80) == 450
    runtime.reserved = 300
    assert meter.peak() == 650


def test_kernels_that_come_with_the_first_request_are_charged(make_gpu: Callable[..., Gpu]) -> None:
    runtime, gpu = Reserving(), make_gpu(processes={os.getpid(): 450})
    meter = gpu.meter(runtime)
    runtime.reserved = 100
    assert meter.settle(80) == 450
    gpu.report(850)
    assert meter.peak() == 850
    runtime.reserved = 300
    assert meter.peak() == 1050


def test_what_a_library_without_a_counter_takes_later_is_charged(
    make_gpu: Callable[..., Gpu],
) -> None:
    """As the arena of ONNX Runtime, or any framework inside a class of the user's."""
    gpu, now = make_gpu(processes={os.getpid(): 450}), [0.0]
    meter = gpu.meter(clock=lambda: now[0])
    assert meter.settle(80) == 450
    assert meter.peak() == 450
    gpu.report(2000)
    assert meter.peak() == 450  # the driver is not asked after each of many short requests
    now[0] += 0.3
    assert meter.peak() == 2000
    gpu.report(500)
    now[0] += 0.3
    assert meter.peak() == 2000


def test_what_only_the_load_needed_is_returned_before_it_is_measured(
    make_gpu: Callable[..., Gpu],
) -> None:
    """As weights that were converted to another precision on the GPU."""
    gpu = make_gpu(processes={os.getpid(): 6500})

    class Converting(Reserving):
        reserved = 6000

        def release_unused_memory(self) -> None:
            self.reserved, gpu.there.processes = 2000, {os.getpid(): 2500}

    assert gpu.meter(Converting()).settle(2000) == 2500


def test_where_the_driver_does_not_know_the_process_the_rise_of_the_whole_gpu_is_its_own(
    make_gpu: Callable[..., Gpu],
) -> None:
    runtime, gpu = Reserving(), make_gpu()
    meter = gpu.meter(runtime)
    runtime.reserved = 100
    gpu.there.free -= 420
    assert meter.settle(80) == 420
    assert meter.peak() == 420


def test_a_gpu_worker_is_charged_its_weights_at_least_whatever_others_free_meanwhile(
    make_gpu: Callable[..., Gpu],
) -> None:
    gpu = make_gpu()
    meter = gpu.meter()
    gpu.there.free += 4000
    assert meter.settle(80) == 80


def test_a_model_that_does_not_use_the_gpu_is_charged_nothing_there(
    make_gpu: Callable[..., Gpu],
) -> None:
    """As a class of scikit-learn's, whose file is as large as what it takes of main memory."""
    gpu = make_gpu()
    gpu.users = []
    meter = gpu.meter()
    assert meter.settle(3000) == 0
    meter.forget_peak()
    assert meter.peak() == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_model_that_begins_to_use_the_gpu_with_a_request_is_charged_from_then_on(
    make_gpu: Callable[..., Gpu], known: bool
) -> None:
    gpu, now = make_gpu(processes={} if known else None), [0.0]
    gpu.users = []
    meter = gpu.meter(clock=lambda: now[0])
    assert meter.settle(3000) == 0
    assert meter.peak() == 0
    gpu.users = [os.getpid()]
    if known:
        gpu.report(3400)
    now[0] += 0.3
    assert meter.peak() == (3400 if known else 3000)


def test_what_a_library_without_a_counter_holds_outlasts_the_trial_in_a_container(
    make_gpu: Callable[..., Gpu],
) -> None:
    gpu = make_gpu(processes=None)
    meter = gpu.meter()
    gpu.there.free -= 420
    assert meter.settle(80) == 420
    meter.forget_peak()
    assert meter.peak() == 420


@pytest.mark.parametrize(("users", "least"), [([], 0), ([7], 1)])
def test_a_program_is_taken_for_one_that_uses_no_gpu_only_if_none_of_its_processes_does(
    make_gpu: Callable[..., Gpu], users: list[int], least: int
) -> None:
    gpu = make_gpu(processes=None)
    gpu.users = users
    assert ProgramMeter(gpu.meter(), lambda: [7]).settle(0) == least


def test_what_a_program_and_its_children_hold_of_a_gpu_counts_together(
    make_gpu: Callable[..., Gpu],
) -> None:
    gpu = make_gpu(processes={7: 300, 8: 40, 9: 5000})
    meter = gpu.meter()
    assert meter.held_by([7, 8]) == 340
    assert meter.held_by([6]) == 0


def test_without_a_driver_to_ask_the_runtime_is_believed(tmp_path: Path) -> None:
    runtime = Reserving()
    share = GpuLoadMeter("GPU-0", tmp_path / "lock", FakeNvml([], driver=False))
    meter = GpuMeter(share, runtime)
    runtime.reserved = 100
    assert meter.settle(80) == 100


@pytest.mark.parametrize("processes", [None, {}, {1: None}])
def test_loads_that_the_driver_cannot_tell_apart_wait_for_each_other(
    make_gpu: Callable[..., Gpu], processes: Any
) -> None:
    gpu = make_gpu(processes=processes)
    first = gpu.meter()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gpu.meter)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        gpu.there.free -= 400
        assert first.settle(80) == 400
        second = waiting.result(90)
        gpu.there.free -= 700
        assert second.settle(80) == 700


def test_a_load_that_waits_for_another_reports_that_it_is_alive(
    make_gpu: Callable[..., Gpu],
) -> None:
    gpu, reported = make_gpu(processes=None), threading.Event()
    first = gpu.meter()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gpu.meter, waiting=reported.set)
        assert reported.wait(60)
        first.settle(80)
        waiting.result(60).settle(80)


def test_loads_stop_waiting_once_the_driver_has_told_the_memory_of_a_program(
    make_gpu: Callable[..., Gpu],
) -> None:
    """The worker of a program has no memory there itself, so only the program shows it."""
    gpu = make_gpu(processes={7: 300})
    first = gpu.meter()
    with ThreadPoolExecutor() as pool:
        second = pool.submit(gpu.meter)
        assert first.held_by([7]) == 300  # before the first is settled
        second.result(60)
    assert ProgramMeter(first, lambda: [7]).settle(0) == 300
    gpu.meter()
    gpu.meter()


def test_the_context_of_a_worker_that_stood_by_is_its_own_too(make_gpu: Callable[..., Gpu]) -> None:
    gpu = make_gpu(processes=None)
    context = gpu.context(300)
    meter = gpu.meter(held=context)
    gpu.there.free -= 100
    assert meter.settle(80) == 400


def test_loads_that_the_driver_tells_apart_go_on_at_once(make_gpu: Callable[..., Gpu]) -> None:
    gpu = make_gpu(processes={os.getpid(): 450})
    gpu.meter().settle(80)
    first, second = gpu.meter(), gpu.meter()
    gpu.there.free -= 5000
    assert (first.settle(80), second.settle(80)) == (450, 450)


def test_a_load_that_ends_in_a_crash_keeps_nobody_waiting(make_gpu: Callable[..., Gpu]) -> None:
    gpu = make_gpu(processes=None)
    crashed = os.fork()
    if not crashed:
        gpu.meter()
        os._exit(1)
    os.waitpid(crashed, 0)
    assert gpu.meter().settle(80) == 80


@pytest.mark.parametrize("known", [True, False])
def test_a_gpu_worker_that_sleeps_holds_its_context_whether_the_driver_knows_it_or_not(
    make_gpu: Callable[..., Gpu], known: Any
) -> None:
    processes = {os.getpid(): 450}
    runtime, gpu = Reserving(), make_gpu(processes=processes if known else None)
    meter = gpu.meter(runtime)
    runtime.reserved = 100
    gpu.there.free -= 450
    assert meter.settle(80) == 450
    runtime.reserved = 0
    processes[os.getpid()] = 360
    assert meter.asleep(80) == (360 if known else 350)
    runtime.reserved = 80
    processes[os.getpid()] = 440
    assert meter.awake() == (440 if known else 430)
