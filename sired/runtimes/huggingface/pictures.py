"""What is in a picture."""

from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.labels import Labels
from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import Task, TransformersModel, only

# As the picture is: the model's own processor resizes and normalises it.
_PICTURES = TensorSpec("picture", "uint8", (-1, -1, -1, 3))
_SIDE = 32


class ImageClassification(Task):
    """The likeliest labels of a picture."""

    def __init__(self, made: TransformersModel) -> None:
        self._model, self._device = made.model, made.device
        self._rows = made.options.rows
        self._dtype = next(made.model.parameters()).dtype
        self._labels = Labels(made)
        self._processor = load_beside(AutoImageProcessor, made)
        self.signature = Signature((_PICTURES,), self._labels.outputs)

    def run(self, data: Any) -> Any:
        """``label`` and ``score`` of each picture of uint8[pictures, height, width, 3]."""
        pictures = np.asarray(only(data))
        if pictures.ndim == 3:
            pictures = pictures[np.newaxis]
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or not pictures.size:
            raise InvalidInput(
                f"The model takes pictures, uint8[N, height, width, 3]; given is "
                f"{pictures.dtype}{list(pictures.shape)}."
            )
        found: list[Any] = []
        for first in range(0, len(pictures), self._rows):
            found += self._classify(pictures[first : first + self._rows])
        return self._labels.table(found)

    def sample(self) -> Any:
        """A small black picture."""
        return np.zeros((1, _SIDE, _SIDE, 3), np.uint8)

    def _classify(self, pictures: Any) -> list[Any]:
        pixels = self._processor(
            images=list(pictures), return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        logits: torch.Tensor = self._model(pixel_values=pixels.to(self._device, self._dtype)).logits
        return self._labels.of(logits)
