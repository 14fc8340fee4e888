"""What ONNX Runtime is told about a GPU that models share."""

from typing import Any

import onnxruntime
import pytest

from sired.runtimes.onnx import sessions
from sired.runtimes.onnx.arguments import OnnxOptions


@pytest.fixture(autouse=True)
def built_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [sessions._CUDA])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)


def told(limit: int | None = None, **provider_options: Any) -> dict[str, str]:
    options = OnnxOptions(provider_options=provider_options)
    request = sessions.SessionRequest("m.onnx", True, options, 0, limit)
    (name, given), _ = sessions._providers(request)
    assert name == "CUDAExecutionProvider"
    return dict(given)


def test_the_gpu_is_shared_so_nothing_is_searched_for_or_taken_in_advance() -> None:
    given = told()
    assert given["arena_extend_strategy"] == "kSameAsRequested"
    assert given["cudnn_conv_algo_search"] == "HEURISTIC"


def test_what_the_user_declared_is_the_limit_of_the_arena() -> None:
    assert "gpu_mem_limit" not in told()
    assert told(1 << 30)["gpu_mem_limit"] == str(1 << 30)
    assert told(1 << 30, gpu_mem_limit=1 << 29)["gpu_mem_limit"] == str(1 << 29)


def test_what_the_user_chose_counts() -> None:
    assert told(cudnn_conv_algo_search="EXHAUSTIVE")["cudnn_conv_algo_search"] == "EXHAUSTIVE"
