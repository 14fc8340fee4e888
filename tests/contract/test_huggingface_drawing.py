"""Pipelines of diffusers: the pictures are those that diffusers makes itself."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from sire.errors import InvalidInput, InvalidModel
from sired.runtimes.discovery import find_runtime
from sired.runtimes.huggingface import architectures
from sired.store.formats import content_fingerprint, files_of, memory_of_weights, recognise

transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")

from tests.contract.tiny_drawing import draw, drawn  # noqa: E402 (it needs transformers)

pytestmark = [
    # Both take seconds to import: in one process, and not already to find these tests.
    pytest.mark.xdist_group("transformers"),
    pytest.mark.skipif(
        not importlib.util.find_spec("diffusers"), reason="sire[diffusers] is not installed"
    ),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawing") / "m")


def test_pictures_are_those_that_diffusers_draws(directory: Path) -> None:
    runtime = find_runtime("huggingface")
    model = runtime.load(str(directory), num_inference_steps=2, seed=3)
    answer = runtime.predict(model, ["some text", {"prompt": "a picture", "seed": 4}])
    assert answer.dtype == np.uint8
    assert np.array_equal(answer[0], drawn(directory, "some text", 3, num_inference_steps=2))
    assert np.array_equal(answer[1], drawn(directory, "a picture", 4, num_inference_steps=2))
    asked = {"prompt": "some text", "guidance_scale": 1.5, "height": 24, "width": 16}
    expected = drawn(
        directory, "some text", 3, num_inference_steps=2, guidance_scale=1.5, height=24, width=16
    )
    (picture,) = runtime.predict(model, asked)
    assert picture.shape == (24, 16, 3)
    assert np.array_equal(picture, expected)
    assert runtime.get_memory_footprint(model) >= recognise(directory).weight_bytes
    with pytest.raises(InvalidInput, match="Did you mean guidance_scale"):
        runtime.predict(model, {"prompt": "a", "guidance_skale": 1})


def test_a_pipeline_is_known_by_its_components(directory: Path) -> None:
    found = recognise(directory)
    assert found.name == "diffusers"
    files = files_of("diffusers", directory, {})
    assert [file.parent.name for file in files] == ["text_encoder", "unet", "vae"]
    assert found.weight_bytes == sum(file.stat().st_size for file in files) - _headers(files)
    assert memory_of_weights(found, directory, {"dtype": "fp16"}) < found.weight_bytes * 0.6
    assert content_fingerprint("diffusers", directory, {})


def _headers(files: list[Path]) -> int:
    return sum(8 + int.from_bytes(file.read_bytes()[:8], "little") for file in files)


def test_a_pipeline_that_does_not_draw_texts_is_refused(tmp_path: Path) -> None:
    index = {"_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.1"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidModel) as caught:
        architectures.choose_task("", tmp_path, {})
    assert "StableVideoDiffusionPipeline" in caught.value.message
    assert "FluxPipeline" in caught.value.hint


def test_without_diffusers_the_extra_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidModel) as caught:
        architectures.check_packages(directory)
    assert "pip install 'sire[diffusers]'" in caught.value.hint


def test_weights_of_eight_bits_are_refused(directory: Path) -> None:
    with pytest.raises(InvalidModel, match="eight bits"):
        find_runtime("huggingface").load(str(directory), dtype="int8")
