"""Tasks whose only input is a picture, and which are not pipelines of transformers."""

import copy
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer

from sire.spec import Signature
from sired.runtimes.huggingface.generate import TEXT_OUT, generation_config
from sired.runtimes.huggingface.items import pictures_in
from sired.runtimes.huggingface.labels import Labels
from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.table import ITEMS
from sired.runtimes.huggingface.task import Task, TransformersModel, object_array
from sired.runtimes.support.comparison import alike

_SIDE = 32


class ImageClassification(Task):
    """The most likely labels of images."""

    def __init__(self, made: TransformersModel) -> None:
        self._model, self._device = made.model, made.device
        self._dtype = next(made.model.parameters()).dtype
        self._labels = Labels(made)
        self._processor = load_beside(AutoImageProcessor, made)
        self.signature = Signature((ITEMS,), self._labels.outputs)
        self._rows = 1 if made.options.quantized else made.options.rows
        if self._rows > 1 and not self._proven():
            self._rows = 1

    def run(self, data: Any) -> Any:
        """``label`` and ``score`` of each image."""
        images = pictures_in(data)
        pixels = [self._pixels(image) for image in images]
        found: list[Any] = []
        for group in _equal(pixels, self._rows):
            found += self._labels.of(self._logits(group))
        return self._labels.table(found)

    def sample(self) -> Any:
        """A small black image."""
        return np.zeros((1, _SIDE, _SIDE, 3), np.uint8)

    def _pixels(self, image: Any) -> torch.Tensor:
        found: torch.Tensor = self._processor(images=image, return_tensors="pt")["pixel_values"]
        return found.to(self._device, self._dtype)

    def _logits(self, pixels: list[torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self._model(pixel_values=torch.cat(pixels)).logits
        return logits

    def _proven(self) -> bool:
        """Whether images have the same logits in one pass as alone."""
        random = np.random.default_rng(0)
        images = [
            random.integers(0, most, (_SIDE, _SIDE + most % 7, 3)).astype(np.uint8)
            for most in (3, 80, 256)
        ]
        pixels = [self._pixels(image) for image in pictures_in(images)]
        alone = torch.cat([self._logits([one]) for one in pixels])
        groups = _equal(pixels, len(pixels))
        together = torch.cat([self._logits(group) for group in groups])
        return alike(alone, together, self._dtype.itemsize)


def _equal(pixels: list[torch.Tensor], most: int) -> list[list[torch.Tensor]]:
    """Consecutive images of one size, in groups of up to ``most``."""
    groups: list[list[torch.Tensor]] = []
    for one in pixels:
        if groups and len(groups[-1]) < most and groups[-1][0].shape == one.shape:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


class ImageToText(Task):
    """Describes pictures, or reads the text in them, one picture at a time."""

    signature = Signature((ITEMS,), (TEXT_OUT,))

    def __init__(self, made: TransformersModel) -> None:
        self._model, self._device = made.model, made.device
        self._dtype = next(made.model.parameters()).dtype
        self._processor = load_beside(AutoImageProcessor, made)
        self._tokenizer = load_beside(AutoTokenizer, made)
        self._config = generation_config(made, {})

    def run(self, data: Any) -> Any:
        """The text of each picture, object[pictures]."""
        return object_array(self._describe(image) for image in pictures_in(data))

    def sample(self) -> Any:
        """A small black image."""
        return np.zeros((1, _SIDE, _SIDE, 3), np.uint8)

    def _describe(self, image: Any) -> str:
        inputs = self._processor(images=image, return_tensors="pt")
        given = inputs.to(self._device, self._dtype)
        tokens = self._model.generate(**given, generation_config=copy.copy(self._config))
        return str(self._tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]).strip()
