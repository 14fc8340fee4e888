"""Image classification."""

from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.labels import Labels
from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import Task, TransformersModel, unwrapped

# Unscaled pixels: the model's own processor resizes and normalises them.
_IMAGES = TensorSpec("picture", "uint8", (-1, -1, -1, 3))
_SIDE = 32


class ImageClassification(Task):
    """The most likely labels of images."""

    def __init__(self, made: TransformersModel) -> None:
        self._model, self._device = made.model, made.device
        self._rows = made.options.rows
        self._dtype = next(made.model.parameters()).dtype
        self._labels = Labels(made)
        self._processor = load_beside(AutoImageProcessor, made)
        self.signature = Signature((_IMAGES,), self._labels.outputs)

    def run(self, data: Any) -> Any:
        """``label`` and ``score`` of each image of uint8[images, height, width, 3]."""
        images = np.asarray(unwrapped(data))
        if images.ndim == 3:
            images = images[np.newaxis]
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            raise InvalidInput(
                f"The model takes images, uint8[N, height, width, 3]; given is "
                f"{images.dtype}{list(images.shape)}."
            )
        found: list[Any] = []
        for first in range(0, len(images), self._rows):
            found += self._classify(images[first : first + self._rows])
        return self._labels.table(found)

    def sample(self) -> Any:
        """A small black image."""
        return np.zeros((1, _SIDE, _SIDE, 3), np.uint8)

    def _classify(self, images: Any) -> list[Any]:
        pixels = self._processor(
            images=list(images), return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        logits: torch.Tensor = self._model(pixel_values=pixels.to(self._device, self._dtype)).logits
        return self._labels.of(logits)
