"""A tiny pipeline of diffusers with random weights, and the pictures that it makes by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tests.contract import tiny_models


def _diffusers() -> Any:
    """The package, whose classes have no types; it takes seconds to import, when it is used."""
    import diffusers

    return diffusers


def draw(directory: Path) -> Path:
    """Save a tiny pipeline with random weights."""
    torch.manual_seed(0)
    diffusers = _diffusers()
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
    pipe: Any = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tiny_models.tokenizer(),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(directory)
    return directory


def drawn(directory: Path, prompt: str, seed: int, **given: Any) -> NDArray[Any]:
    pipe = _diffusers().DiffusionPipeline.from_pretrained(str(directory), local_files_only=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    return np.asarray(pipe(prompt, generator=generator, **given).images[0])


def both(directory: Path) -> NDArray[Any]:
    """The pictures of two texts, in two steps."""
    texts = ("some text", "more words in Paris")
    return np.stack([drawn(directory, text, 3, num_inference_steps=2) for text in texts])
