"""What is sent to the two models. Nothing here imports torch, so client processes stay small."""

import math
from dataclasses import dataclass

from sired.protocol.content import TENSORS
from sired.protocol.requests import Predict
from sired.spec import TensorSpec


@dataclass(frozen=True, slots=True)
class Workload:
    """One model and the input it is measured with; ``model`` is also the name it has in sire."""

    size: str
    model: str
    class_name: str
    shape: tuple[int, ...]

    @property
    def data(self) -> bytes:
        """One float32 input of ``shape``, all zeros."""
        return bytes(4 * math.prod(self.shape))

    @property
    def request(self) -> Predict:
        """The request header that goes with ``data``."""
        tensor = TensorSpec("", "float32", self.shape)
        return Predict(model=self.model, content_type=TENSORS, tensors=(tensor,), accept=TENSORS)


SMALL = Workload("3 KB", "perceptron", "Perceptron", (1, 768))
LARGE = Workload("600 KB", "small-cnn", "SmallCnn", (1, 3, 224, 224))
WORKLOADS = (SMALL, LARGE)
