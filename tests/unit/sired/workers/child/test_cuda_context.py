"""Which processes have a CUDA context, and whether it was lost, whichever library holds it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sired.workers.child import cuda_context
from sired.workers.child.cuda_context import (
    _ask_driver,
    _ask_runtime,
    broken_context,
    may_have_context,
    unusable_gpu,
)

CUDA_RUNTIME = """
int cudaDeviceSynchronize(void) { return %d; }
const char *cudaGetErrorString(int code) {
    return code == 700 ? "an illegal memory access was encountered" : "?";
}
"""


CUDA_DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int number) { return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return %d; }
int cuGetErrorString(int code, const char **words) {
    *words = code == 46 ? "CUDA-capable device(s) is/are busy or unavailable" : 0;
    return 0;
}
"""


def torch_that(synchronize: Any, *, initialized: bool = True) -> Any:
    return SimpleNamespace(
        cuda=SimpleNamespace(is_initialized=lambda: initialized, synchronize=synchronize)
    )


def test_a_context_that_works_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_that(lambda: None))
    assert broken_context() == ""


def test_a_context_that_fails_is_broken_in_the_words_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def synchronize() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\n")

    monkeypatch.setitem(sys.modules, "torch", torch_that(synchronize))
    assert broken_context() == "CUDA error: device-side assert triggered"


def test_without_a_context_of_pytorch_the_runtime_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The stand-ins of other tests remain loaded in this process.
    monkeypatch.setattr(cuda_context, "_ask_runtime", lambda: "what the runtime says")
    torch = torch_that(lambda: pytest.fail("it was asked"), initialized=False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert broken_context() == "what the runtime says"


@pytest.mark.parametrize(
    ("code", "expected"), [(0, ""), (700, "an illegal memory access was encountered")]
)
def test_a_runtime_that_another_library_loaded_is_asked(
    tmp_path: Path, code: int, expected: str
) -> None:
    source, library = tmp_path / "cudart.c", tmp_path / f"libcudart.so.{13 + bool(code)}"
    source.write_text(CUDA_RUNTIME % code)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 00:00 0 \n"
        f"7f01-7f02 r-xp 00000000 fe:00 42                         {library}\n"
    )
    assert _ask_runtime(maps) == expected


def test_a_process_has_a_context_if_it_has_the_device_file_open_that_cuda_needs(
    tmp_path: Path,
) -> None:
    device, me = tmp_path / "nvidia-uvm", os.getpid()
    assert may_have_context([me], device)  # as in WSL2, where there is no such file
    device.touch()
    assert not may_have_context([me], device)
    with device.open():
        assert may_have_context([1 << 30, me], device)
        assert may_have_context([me], device)
    ended = 1 << 30
    assert may_have_context([ended], device)  # what cannot be read is given the benefit of doubt


@pytest.mark.parametrize(
    ("words", "unusable"),
    [
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("No CUDA GPUs are available", True),
        ("CUDA error: no kernel image is available for execution on the device", True),
        ("CUDA unknown error - this may be due to an incorrectly set up environment", True),
        ("CUDA error: an illegal memory access was encountered", False),  # the model's own doing
        ("CUDA out of memory. Tried to allocate 2.00 MiB.", False),
        ("", False),
    ],
)
def test_a_gpu_is_unusable_if_a_calculation_of_no_model_fails_there(
    words: str, unusable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeros(*_: Any, **__: Any) -> None:
        if words:
            raise RuntimeError(words)

    torch = torch_that(lambda: None)
    torch.zeros, torch.version = zeros, SimpleNamespace(cuda="13.0")
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert unusable_gpu() == (" ".join(words.split()) if unusable else "")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, ""),
        (2, ""),  # memory is short, which others may free
        (46, "CUDA-capable device(s) is/are busy or unavailable"),
        (214, "CUDA error 214"),
    ],
)
def test_without_pytorch_for_cuda_the_driver_is_asked_for_a_context(
    tmp_path: Path, code: int, expected: str
) -> None:
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(CUDA_DRIVER % code)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    assert _ask_driver(str(library)) == expected


def test_without_a_driver_nothing_is_said_of_the_gpu(tmp_path: Path) -> None:
    assert _ask_driver(str(tmp_path / "libcuda.so.1")) == ""
