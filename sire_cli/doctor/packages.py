"""Checks that the installed frameworks are compatible with each other and the driver."""

import re
import subprocess
import sys
from importlib import metadata
from typing import NamedTuple

from sire_cli.doctor.finding import Finding

_ONNX = ("onnxruntime", "onnxruntime-gpu")
# Importing torch from a cold disk is slow.
_TORCH_SECONDS = 60.0


class Versions(NamedTuple):
    """Installed versions, None if not installed; ``*_cuda`` is the CUDA version built for.

    ``torch_architectures`` are the GPUs that torch was built for, such as sm_90, where it can use
    the GPUs of this machine.
    """

    torch: str | None
    torch_cuda: str | None
    onnxruntime: str | None
    onnxruntime_gpu: str | None
    onnxruntime_cuda: str | None
    torch_architectures: tuple[str, ...] = ()


def versions() -> Versions:
    """Read the installed versions; torch is imported in a separate process."""
    torch = _version("torch")
    plain, gpu = map(_version, _ONNX)
    cuda, architectures = _torch_cuda() if torch else (None, ())
    return Versions(torch, cuda, plain, gpu, _onnx_cuda(), architectures)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch_cuda() -> tuple[str | None, tuple[str, ...]]:
    """The CUDA version that torch was built for, and the architectures of GPUs."""
    code = "import torch; print(torch.version.cuda or 'none', *torch.cuda.get_arch_list())"
    command = [sys.executable, "-P", "-c", code]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_TORCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None, ()
    version, *architectures = result.stdout.split() or ["none"]
    return None if version == "none" else version, tuple(architectures)


def _onnx_cuda() -> str | None:
    """The major CUDA version in the requirements of onnxruntime-gpu."""
    try:
        requirements = metadata.requires("onnxruntime-gpu") or []
    except metadata.PackageNotFoundError:
        return None
    text = " ".join(line for line in requirements if "cuda" in line and "runtime" in line)
    match = re.search(r"runtime(?:-cu\d+)?\s*\(?~=\s*(\d+)", text) or re.search(r"-cu(\d+)", text)
    return match[1] if match else None


def onnxruntime_twice(found: Versions) -> Finding:
    """Check for both packages: they share a directory, and the one installed last wins."""
    name = "onnxruntime"
    if found.onnxruntime and found.onnxruntime_gpu:
        return Finding(
            name,
            "problem",
            f"onnxruntime {found.onnxruntime} and onnxruntime-gpu {found.onnxruntime_gpu} are both "
            "installed and overwrite each other",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        )
    if not (found.onnxruntime or found.onnxruntime_gpu):
        return Finding(
            name, "problem", "not installed: ONNX models cannot run", "pip install onnxruntime"
        )
    package, version = (
        ("onnxruntime-gpu", found.onnxruntime_gpu)
        if found.onnxruntime_gpu
        else ("onnxruntime", found.onnxruntime)
    )
    return Finding(name, "ok", f"{package} {version}")


def cuda_versions(found: Versions, driver: tuple[int, int] | None) -> Finding:
    """Check that driver, torch and ONNX Runtime support the same major CUDA version.

    Args:
        found: the installed versions.
        driver: the highest CUDA version the driver supports; None without a driver.
    """
    name = "cuda"
    if found.torch is None:
        return Finding(name, "problem", "torch is not installed", "pip install torch")
    summary = f"torch {found.torch} ({_built_for(found.torch_cuda)})"
    if found.onnxruntime_gpu:
        built_for = found.onnxruntime_cuda and f"CUDA {found.onnxruntime_cuda}"
        summary += f", onnxruntime-gpu {found.onnxruntime_gpu} ({built_for or 'CUDA unknown'})"
    if driver is None:
        return Finding(name, "ok", summary)
    if found.torch_cuda is None:
        return Finding(
            name,
            "warning",
            f"{summary}: PyTorch models cannot use the GPUs",
            "Install torch for CUDA: https://pytorch.org/get-started/locally",
        )
    if _major(found.torch_cuda) > driver[0]:
        return Finding(
            name,
            "problem",
            f"{summary}: the driver supports CUDA only up to {driver[0]}.{driver[1]}",
            f"Install a newer driver, or torch for CUDA {driver[0]}",
        )
    if found.onnxruntime_cuda and _major(found.onnxruntime_cuda) != _major(found.torch_cuda):
        return Finding(
            name,
            "warning",
            f"{summary}: they need different CUDA versions",
            f"Install versions of both for CUDA {_major(found.torch_cuda)}",
        )
    if not found.onnxruntime_gpu:
        advice = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        return Finding(name, "warning", f"{summary}: ONNX models cannot use the GPUs", advice)
    return Finding(name, "ok", f"{summary}, driver for CUDA {driver[0]}.{driver[1]}")


def _built_for(cuda: str | None) -> str:
    return f"CUDA {cuda}" if cuda else "CPU only"


def _major(version: str) -> int:
    return int(version.partition(".")[0])
