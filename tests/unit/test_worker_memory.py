"""What a worker is charged is what it really holds. Each measurement has a process of its own."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sired.runtimes.base import InferenceRuntime
from sired.workers.gpu_memory import GpuMeter

MIB = 1 << 20

PROLOGUE = """
import mmap, os, sys, tempfile
from sired.workers.memory import CpuMeter
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
def measured(tmp_path):
    """Run a piece of code in a fresh process; what it prints are numbers of MiB."""

    def _measured(code):
        done = subprocess.run(
            [sys.executable, "-c", PROLOGUE + code],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            timeout=60,
        )
        return [int(number) / MIB for number in done.stdout.split()]

    return _measured


def test_what_a_model_allocates_is_measured(measured):
    before, held = measured(
        "meter = CpuMeter(); before = meter.settle(0)\n"
        "weights = filled(200)\n"
        "print(before, meter.settle(0))"
    )
    assert held - before == pytest.approx(200, rel=0.1)


def test_weights_that_are_mapped_but_not_read_yet_are_charged_in_advance(measured):
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


def test_what_inference_needs_comes_on_top_of_weights_read_meanwhile(measured):
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


def test_a_peak_while_loading_does_not_hide_the_peaks_of_inference(measured):
    held, peak = measured(
        "meter = CpuMeter()\n"
        "buffer = filled(300); buffer.close()\n"
        "held = meter.settle(0)\n"
        "activations = filled(100); activations.close()\n"
        "print(held, meter.peak())"
    )
    assert held < 50
    assert peak - held == pytest.approx(100, rel=0.1)


def test_pages_shared_with_the_zygote_cost_nothing(measured):
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


def test_memory_freed_while_loading_is_not_counted(measured):
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


class Nvml:
    """Behaves like pynvml on a machine with one GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, used, by_pid=None, driver=True):
        self.used, self.by_pid, self.driver = used, by_pid or {}, driver

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=self.used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=p, usedGpuMemory=used) for p, used in self.by_pid.items()]


class Reserving(InferenceRuntime):
    """A runtime whose allocator has reserved what it is told."""

    name = "reserving"
    reserved = 0

    def load(self, model_path, **kwargs):
        return None

    def predict(self, model, data):
        return data

    def get_memory_footprint(self, model):
        return 0

    def peak_device_memory(self):
        return self.reserved


def test_a_gpu_worker_is_charged_its_context_too_and_keeps_it_at_its_peak():
    runtime, nvml = Reserving(), Nvml(used=5000)
    meter = GpuMeter("GPU-1", runtime, nvml)
    runtime.reserved, nvml.by_pid = 100, {os.getpid(): 450, 1: 5000}
    assert meter.settle(80) == 450
    runtime.reserved = 300
    assert meter.peak() == 650


def test_where_the_driver_does_not_know_the_process_the_rise_of_the_whole_gpu_is_its_own():
    runtime, nvml = Reserving(), Nvml(used=5000)
    meter = GpuMeter("GPU-1", runtime, nvml)
    runtime.reserved, nvml.used = 100, 5420
    assert meter.settle(80) == 420
    assert meter.peak() == 420


def test_a_gpu_worker_is_charged_its_weights_at_least_whatever_others_free_meanwhile():
    nvml = Nvml(used=5000)
    meter = GpuMeter("GPU-1", Reserving(), nvml)
    nvml.used = 1000
    assert meter.settle(80) == 80


def test_without_a_driver_to_ask_the_runtime_is_believed():
    runtime = Reserving()
    meter = GpuMeter("GPU-1", runtime, Nvml(used=0, driver=False))
    runtime.reserved = 100
    assert meter.settle(80) == 100


@pytest.mark.parametrize("known", [True, False])
def test_a_gpu_worker_that_sleeps_holds_its_context_whether_the_driver_knows_it_or_not(known):
    runtime, nvml = Reserving(), Nvml(used=5000)
    meter = GpuMeter("GPU-1", runtime, nvml)
    runtime.reserved, nvml.used = 100, 5450
    if known:
        nvml.by_pid = {os.getpid(): 450}
    assert meter.settle(80) == 450
    runtime.reserved = 0
    if known:
        nvml.by_pid = {os.getpid(): 360}
    assert meter.asleep(80) == (360 if known else 350)
    runtime.reserved = 80
    if known:
        nvml.by_pid = {os.getpid(): 440}
    assert meter.awake() == (440 if known else 430)
