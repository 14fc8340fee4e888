"""What every runtime must do, asked of every runtime with every kind of file it loads.

A new runtime joins by a `Case`, in runtime_cases.py.
"""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from sire.errors import InvalidModel, SireError
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.discovery import find_traits
from sired.runtimes.out_of_memory import is_impossible, is_out_of_memory, requested_bytes
from sired.runtimes.pytorch.copies import PendingCopy
from sired.runtimes.pytorch.data import to_tensors
from sired.runtimes.pytorch.model import TorchModel
from sired.runtimes.support.comparison import alike
from sired.store.formats import recognise
from tests.contract.runtime_cases import Case


def test_its_files_are_recognised_by_their_content(runtime_case: Case, model_file: Path) -> None:
    if not runtime_case.recognised:
        pytest.skip("what its files are its class knows alone")
    found = recognise(model_file)
    assert found.name == runtime_case.format
    file_format = find_traits(runtime_case.runtime).format(found.name)
    assert file_format is not None
    assert file_format.needs_class == bool(runtime_case.code)
    assert (file_format.needs_trust != "never") == runtime_case.needs_trust
    assert found.weight_bytes >= 16


def test_it_computes_what_the_model_computes(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    data = runtime_case.data.copy()
    data.flags.writeable = False
    answer = runtime.predict(model, data)
    assert isinstance(answer, np.ndarray)
    assert alike(answer, runtime_case.expected(model_file))


def test_inputs_can_be_given_by_name_and_in_order(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    data, expected = runtime_case.data, runtime_case.expected(model_file)
    assert alike(runtime.predict(model, {runtime_case.input: data}), expected)
    assert alike(runtime.predict(model, (data,)), expected)


class CopiesOnCpu:
    """Stands in for copies to a GPU: everything stays in main memory."""

    def __init__(self, device: Any) -> None:
        assert device.type == "cuda"

    def send(self, data: Any, precision: Any) -> Any:
        never_recorded = cast("torch.cuda.Event", None)  # there are no events without a GPU
        return PendingCopy(to_tensors(data, torch.device("cpu"), precision), never_recorded)

    def receive(self, sent: Any) -> Any:
        return sent.value


def test_what_was_prepared_for_a_gpu_gives_the_same_answer(
    runtime_case: Case,
    runtime: InferenceRuntime,
    model_file: Path,
    load_options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sired.runtimes.pytorch.runtime.Copies", CopiesOnCpu)
    model = runtime.load(str(model_file), **load_options)
    on_gpu = model
    if isinstance(model, TorchModel):
        on_gpu = dataclasses.replace(model, device=torch.device("cuda"))
    prepared = runtime.prepare(on_gpu, runtime_case.data)
    assert alike(runtime.predict(model, prepared), runtime_case.expected(model_file))


def test_it_answers_as_before_once_it_is_warm(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    runtime.warmup(model)
    assert alike(runtime.predict(model, runtime_case.data), runtime_case.expected(model_file))


def test_its_footprint_is_at_least_its_weights(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    assert runtime.get_memory_footprint(model) >= runtime_case.weight_bytes


def test_what_it_estimates_if_anything_is_what_its_weights_take(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    told = runtime.estimate(str(model_file), **load_options)
    if told is not None:
        assert told == runtime.get_memory_footprint(runtime.load(str(model_file), **load_options))


def test_its_signature_is_what_the_file_says(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    signature = runtime.signature(runtime.load(str(model_file), **load_options))
    if runtime_case.describes_itself:
        (taken,) = signature.inputs
        assert (taken.dtype, taken.shape) == runtime_case.takes
    else:
        assert signature.inputs == ()


def test_a_model_that_can_sleep_answers_the_same_after_it_woke(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    assert runtime.can_sleep(model) == runtime_case.sleeps
    if runtime.can_sleep(model):
        for _ in range(2):
            runtime.sleep(model)
            runtime.wake(model)
            answer = runtime.predict(model, runtime_case.data)
            assert alike(answer, runtime_case.expected(model_file))


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
def test_a_file_cut_short_is_an_error_and_not_a_crash(
    runtime_case: Case,
    runtime: InferenceRuntime,
    model_file: Path,
    load_options: dict[str, Any],
    keep: float,
) -> None:
    weights = model_file / runtime_case.weights
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises((SireError, RuntimeError, ValueError)):  # noqa: PT012 (either may fail)
        recognise(model_file)
        runtime.load(str(model_file), **load_options)


def test_an_argument_that_nothing_takes_is_invalid(
    runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidModel, match="nonsense"):
        runtime.load(str(model_file), nonsense=1, **load_options)


def test_data_that_does_not_fit_is_an_error(
    runtime_case: Case, runtime: InferenceRuntime, model_file: Path, load_options: dict[str, Any]
) -> None:
    model = runtime.load(str(model_file), **load_options)
    with pytest.raises(Exception):  # noqa: B017 (whatever the framework raises)
        runtime.predict(model, np.zeros((2, 5), np.float32))
    assert alike(runtime.predict(model, runtime_case.data), runtime_case.expected(model_file))


OUT_OF_MEMORY_WORDS = [
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN failure 5003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "CUDA error: insufficient resources when calling `cusparseCreate(handle)`",
    "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY",
    "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 42",
    "Available memory of 1000 is smaller than requested bytes of 2000",
    "OOM when allocating tensor with shape[64,1024]",
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
    "[executionContext.cpp] Error Code 2: OutOfMemory",
    "Free memory on device (30.5/79.2 GiB) on startup is less than desired GPU memory utilization",
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
    "5.62 GiB KV cache is needed, which is larger than the available KV cache memory (1.20 GiB).",
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shape mismatch"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), False),
        *((RuntimeError(words), True) for words in OUT_OF_MEMORY_WORDS),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(
    error: BaseException, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


GIB = 1 << 30
ON_GPU = "CUDA out of memory. Tried to allocate {}. GPU 0 has a total capacity of 79.10 GiB of which 2.50 GiB is free. {}Of the allocated memory 60.00 GiB is allocated by PyTorch"  # noqa: E501 (as PyTorch words it)


@pytest.mark.parametrize(
    ("words", "requested", "impossible"),
    [
        (ON_GPU.format("20.00 GiB", ""), 20 * GIB, False),
        (ON_GPU.format("500.00 GiB", ""), 500 * GIB, True),
        (ON_GPU.format("20.00 GiB", "8.00 GiB allowed; "), 20 * GIB, True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 42 bytes.", 42, False),
        ("can't allocate memory: you tried to allocate 1000000000000000 bytes", 10**15, True),
        ("Failed to allocate memory for requested buffer of size 5242880", 5 << 20, False),
        (
            "Available memory of 10 is smaller than requested bytes of 2000000000000000",
            2 * 10**15,
            True,
        ),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 500.00GiB.", 500 * GIB, True),
        ("Unable to allocate 7.50 PiB for an array with shape (1, 2)", 15 << 49, True),
        ("CUDA error: out of memory", 0, False),
    ],
)
def test_an_allocation_that_can_never_succeed_is_told_from_one_that_may_later(
    words: str, requested: int, impossible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7")
    monkeypatch.setenv("SIRE_GPU_BYTES", str(80 * GIB))
    error = MemoryError(words) if "array" in words else RuntimeError(words)
    assert is_out_of_memory(error)
    assert (requested_bytes(error), is_impossible(error)) == (requested, impossible)


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_a_library_that_cannot_begin_on_a_gpu_is_out_of_memory(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not is_out_of_memory(RuntimeError(words))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7")
    assert is_out_of_memory(RuntimeError(words))
