"""Checks of each GPU: what keeps CUDA from working there, although the driver responds."""

import importlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sire.nvidia import GPUS, LOAD_UNIFIED_MEMORY, UNIFIED_MEMORY, lacks_unified_memory
from sire_cli.doctor.finding import Finding
from sire_cli.doctor.limited import ANSWER_SECONDS, within

Advised = tuple[str, str]
"""What is found, and what to do about it."""

_FOREIGN: Advised = (
    (
        "the driver numbers processes otherwise than this container, so loads run one at a time, "
        "and the rise of the whole GPU is charged"
    ),
    "Start the container with the host's process ids: docker run --pid=host",
)
_Examined = tuple[int, list[Advised], list[Advised]]

# How NVML numbers the modes in which a GPU takes one process, or none.
_MODES = {2: "prohibits computing", 3: "takes one process at a time"}


def gpus(
    architectures: Sequence[str],
    nvml: Any = None,
    *,
    unified: Path = UNIFIED_MEMORY,
    listed: Path = GPUS,
    kernel: Path = Path("/proc/version"),
    seconds: float = ANSWER_SECONDS,
) -> Finding:
    """Check the state and the settings of every GPU.

    Args:
        architectures: what torch was built for, such as sm_90; empty if it was built without CUDA.
        nvml: the driver's library as a Python module, or a substitute.
        unified: the device file that CUDA needs where the kernel module lists GPUs.
        listed: the directory in which it lists them.
        kernel: the file that names the kernel, which is a special one in WSL2.
        seconds: how long to wait for the driver.
    """
    nvml = nvml or importlib.import_module("pynvml")  # its import is slow
    name = "gpus"
    try:
        count, problems, foreign = within(partial(_examine, nvml, architectures), seconds)
    except (nvml.NVMLError, TimeoutError) as error:
        if listed.exists():
            why = f"the kernel module has found GPUs that the driver does not report: {error}"
            return Finding(name, "problem", why, "See: nvidia-smi")
        return Finding(name, "ok", "none that the driver reports")
    if not count:
        return Finding(name, "ok", "none")
    if lacks_unified_memory(unified, listed):
        return Finding(
            name,
            "problem",
            f"{unified} is missing, so CUDA does not start",
            LOAD_UNIFIED_MEMORY,
        )
    limits = [*foreign, *_limits(kernel)]
    if not problems and not limits:
        return Finding(name, "ok", f"{count}, ready to compute")
    found, advice = zip(*problems, *limits, strict=True)
    state: Literal["problem", "warning"] = "problem" if problems else "warning"
    return Finding(name, state, "; ".join(found), "; ".join(dict.fromkeys(advice)))


def _limits(kernel: Path) -> Iterator[Advised]:
    """What holds here for every GPU, and does not keep it from working."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        yield (
            f"CUDA_VISIBLE_DEVICES={hidden} hides other GPUs from a daemon started here",
            "To show all: unset CUDA_VISIBLE_DEVICES",
        )
    if kernel.exists() and "microsoft" in kernel.read_text().lower():
        yield (
            "WSL2 limits the main memory that can be pinned, so large models sleep and wake slowly",
            "See: docs/reference/hardware.md",
        )


def _examine(nvml: Any, architectures: Sequence[str]) -> _Examined:
    """The number of GPUs, what is wrong with them, and what merely differs in a container."""
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    handles.sort(key=partial(_address, nvml))
    problems = [
        problem
        for number, handle in enumerate(handles)
        for problem in _problems(f"cuda:{number}", handle, nvml, architectures)
    ]
    foreign = [_FOREIGN] if any(_has_unknown_processes(nvml, one) for one in handles) else []
    return len(handles), problems, foreign


def _address(nvml: Any, handle: Any) -> tuple[int, int, int]:
    """Where a GPU is on the bus, by which the daemon numbers them."""
    try:
        pci = nvml.nvmlDeviceGetPciInfo(handle)
    except nvml.NVMLError:
        return (0, 0, 0)
    return pci.domain, pci.bus, pci.device


def _has_unknown_processes(nvml: Any, handle: Any) -> bool:
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return False
    return any(not Path(f"/proc/{process.pid}").exists() for process in processes)


def _problems(name: str, handle: Any, nvml: Any, architectures: Sequence[str]) -> Iterator[Advised]:
    """What is wrong with one GPU, and what to do about it."""

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(handle, *arguments)
        except nvml.NVMLError:  # not every GPU and driver reports everything
            return None

    if mode := _MODES.get(ask(nvml.nvmlDeviceGetComputeMode)):
        yield f"{name} {mode}", f"sudo nvidia-smi -i {name[5:]} --compute-mode=DEFAULT"
    capability = ask(nvml.nvmlDeviceGetCudaComputeCapability)
    if capability and architectures and not supports(architectures, tuple(capability)):
        version = ".".join(map(str, capability))
        yield (
            f"torch was not built for {name}, whose compute capability is {version}",
            "Install a torch that was: https://pytorch.org/get-started/locally",
        )
    remapped = ask(nvml.nvmlDeviceGetRemappedRows)
    if remapped is not None and remapped[3]:
        yield f"memory of {name} is damaged and cannot be remapped", "Replace the GPU"
    elif remapped is not None and remapped[2]:
        yield f"memory of {name} is to be remapped", "Restart the machine, or reset the GPU"
    yield from _memory_problems(name, nvml, ask)


def _memory_problems(name: str, nvml: Any, ask: Callable[..., Any]) -> Iterator[Advised]:
    """What keeps the memory of one GPU from being used; ``ask`` asks the driver about it."""
    partitioned = ask(nvml.nvmlDeviceGetMigMode)
    if partitioned and partitioned[0] != partitioned[1]:
        yield (
            f"{name} is to be partitioned otherwise (MIG)",
            "Reset the GPU, or restart the machine",
        )
    elif partitioned and partitioned[0]:
        most = ask(nvml.nvmlDeviceGetMaxMigDeviceCount) or 0
        number = nvml.nvmlDeviceGetMigDeviceHandleByIndex
        if not any(ask(number, instance) is not None for instance in range(most)):
            yield (
                f"{name} is partitioned (MIG), and has no instances",
                f"Make them: sudo nvidia-smi mig -i {name[5:]} -cgi PROFILE -C",
            )
    elif ask(nvml.nvmlDeviceGetMemoryInfo) is None:
        yield (
            f"the driver does not report the memory of {name}, so it is not used",
            "See: docs/reference/hardware.md",
        )


def supports(architectures: Sequence[str], capability: tuple[int, ...]) -> bool:
    """Whether code for one of these architectures runs on a GPU.

    Binary code (``sm_80``) runs on GPUs of the same major version that are not older, portable code
    (``compute_80``) on all that are not older.
    """
    for kind, number in re.findall(r"(sm|compute)_(\d+)", " ".join(architectures)):
        built_for = int(number[:-1]), int(number[-1])
        newer = capability >= built_for
        if newer and (kind == "compute" or built_for[0] == capability[0]):
            return True
    return False
