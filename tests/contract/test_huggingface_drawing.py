"""Pipelines of diffusers: the pictures are those that diffusers makes itself."""

import importlib.util
import json

import numpy as np
import pytest

from sire.errors import InvalidInput, InvalidModel
from sired.runtimes.discovery import find_runtime
from sired.runtimes.huggingface import architectures
from sired.store.formats import content_fingerprint, files_of, memory_of_weights, recognise

transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")
diffusers = pytest.importorskip("diffusers", reason="sire[diffusers] is not installed")

import torch  # noqa: E402

from tests.contract import tiny_models  # noqa: E402


def draw(directory):
    """Save a tiny pipeline with random weights."""
    torch.manual_seed(0)
    blocks = {"block_out_channels": (4, 8), "norm_num_groups": 2, "layers_per_block": 1}
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        **blocks,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=16,
        **blocks,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=16,
            intermediate_size=32,
            max_position_embeddings=32,
            bos_token_id=2,
            eos_token_id=3,
            pad_token_id=0,
            **tiny_models.SIZE,
        )
    )
    diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tiny_models.tokenizer(),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("drawing") / "m")


def drawn(directory, prompt, seed, **given):
    pipe = diffusers.DiffusionPipeline.from_pretrained(str(directory), local_files_only=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    return np.asarray(pipe(prompt, generator=generator, **given).images[0])


def test_pictures_are_those_that_diffusers_draws(directory):
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


def test_a_pipeline_is_known_by_its_components(directory):
    found = recognise(directory)
    assert found.name == "diffusers"
    files = files_of("diffusers", directory, {})
    assert [file.parent.name for file in files] == ["text_encoder", "unet", "vae"]
    assert found.weight_bytes == sum(file.stat().st_size for file in files) - _headers(files)
    assert memory_of_weights(found, directory, {"dtype": "fp16"}) < found.weight_bytes * 0.6
    assert content_fingerprint("diffusers", directory, {})


def _headers(files):
    return sum(8 + int.from_bytes(file.read_bytes()[:8], "little") for file in files)


def test_a_pipeline_that_does_not_draw_texts_is_refused(tmp_path):
    index = {"_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.1"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidModel) as caught:
        architectures.choose_task("", tmp_path, {})
    assert "StableVideoDiffusionPipeline" in caught.value.message
    assert "FluxPipeline" in caught.value.hint


def test_without_diffusers_the_extra_is_named(directory, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidModel) as caught:
        architectures.check_packages(directory)
    assert "pip install 'sire[diffusers]'" in caught.value.hint


def test_weights_of_eight_bits_are_refused(directory):
    with pytest.raises(InvalidModel, match="eight bits"):
        find_runtime("huggingface").load(str(directory), dtype="int8")
