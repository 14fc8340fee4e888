"""What ONNX files alone have: named inputs and outputs, and weights in files beside them."""

import numpy as np
import pytest
import torch

from sired.errors import InvalidInput, InvalidModel, LoadFailed
from sired.runtimes.discovery import find_runtime
from sired.store.formats import recognise
from tests.contract.runtime_cases import write_onnx, write_onnx_with_weights_beside

DATA = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def onnx():
    return find_runtime("onnx")


def test_inputs_of_the_wrong_names_are_answered_with_the_right_ones(onnx, tmp_path):
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match="inputs are x"):
        onnx.predict(onnx.load(str(tmp_path / "m")), {"z": DATA})


@pytest.mark.parametrize("data", [np.zeros((2, 5), np.float32), np.zeros(4, np.float32)])
def test_a_wrong_shape_is_invalid_input(onnx, tmp_path, data):
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match="x"):
        onnx.predict(onnx.load(str(tmp_path / "m")), data)


def test_whole_numbers_are_not_bent_to_fit(onnx, tmp_path):
    write_onnx(tmp_path / "m")
    with pytest.raises(InvalidInput, match=r"tensor\(float\)"):
        onnx.predict(onnx.load(str(tmp_path / "m")), np.array([[True, False, True, False]] * 2))


def test_weights_beside_the_file_count_under_whatever_name(onnx, tmp_path):
    write_onnx_with_weights_beside(tmp_path / "m")
    graph, weights = (tmp_path / "m").stat().st_size, (tmp_path / "kept elsewhere").stat().st_size
    assert weights >= 16
    found = recognise(tmp_path / "m").weight_bytes
    assert found == graph + weights
    model = onnx.load(str(tmp_path / "m"), weight_bytes=found)
    assert onnx.get_memory_footprint(model) == graph + weights


def test_weights_that_are_gone_are_missed_when_it_is_registered(onnx, tmp_path):
    write_onnx_with_weights_beside(tmp_path / "m")
    (tmp_path / "kept elsewhere").unlink()
    with pytest.raises(InvalidModel, match="kept elsewhere"):
        recognise(tmp_path / "m")
    with pytest.raises(InvalidModel):
        onnx.load(str(tmp_path / "m"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_onnx_runtime_cannot_use_is_said_and_not_passed_over(onnx, tmp_path):
    write_onnx(tmp_path / "m")
    with pytest.raises(LoadFailed, match="CUDA"):
        onnx.load(str(tmp_path / "m"), device="cuda:0")
