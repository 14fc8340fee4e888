"""Checks of each GPU: what keeps CUDA from working there, although the driver responds."""

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sire.nvidia import GPUS, LOAD_UNIFIED_MEMORY, UNIFIED_MEMORY, lacks_unified_memory
from sire_cli.doctor.finding import Finding
from sire_cli.doctor.limited import ANSWER_SECONDS, within

# How NVML numbers the modes in which a GPU takes one process, or none.
_MODES = {2: "prohibits computing", 3: "takes one process at a time"}


def gpus(
    architectures: Sequence[str],
    nvml: Any = None,
    *,
    unified: Path = UNIFIED_MEMORY,
    listed: Path = GPUS,
    seconds: float = ANSWER_SECONDS,
) -> Finding:
    """Check the state and the settings of every GPU.

    Args:
        architectures: what torch was built for, such as sm_90; empty if it was built without CUDA.
        nvml: the driver's library as a Python module, or a substitute.
        unified: the device file that CUDA needs where the kernel module lists GPUs.
        listed: the directory in which it lists them.
        seconds: how long to wait for the driver.
    """
    nvml = nvml or importlib.import_module("pynvml")  # its import is slow
    name = "gpus"
    try:
        count, problems = within(partial(_examine, nvml, architectures), seconds)
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
    if not problems:
        return Finding(name, "ok", f"{count}, ready to compute")
    found, advice = zip(*problems, strict=True)
    return Finding(name, "problem", "; ".join(found), "; ".join(dict.fromkeys(advice)))


def _examine(nvml: Any, architectures: Sequence[str]) -> tuple[int, list[tuple[str, str]]]:
    """The number of GPUs, and what is wrong with them."""
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    return len(handles), [
        problem
        for number, handle in enumerate(handles)
        for problem in _problems(f"cuda:{number}", handle, nvml, architectures)
    ]


def _problems(
    name: str, handle: Any, nvml: Any, architectures: Sequence[str]
) -> Iterator[tuple[str, str]]:
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
    partitioned = ask(nvml.nvmlDeviceGetMigMode)
    if partitioned and partitioned[0] != partitioned[1]:
        yield (
            f"{name} is to be partitioned otherwise (MIG)",
            "Reset the GPU, or restart the machine",
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
