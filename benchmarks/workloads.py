"""What is sent to the two models. Nothing here imports torch, so client processes stay small."""

import math
from array import array
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Self

from sire.protocol.content import TENSORS
from sire.protocol.requests import Predict
from sire.spec import TensorSpec


@dataclass(frozen=True, slots=True)
class Goals:
    """What one client's median may be: the model's own plus this much, and this part of a peer's.

    Attributes:
        echoes: times a bare echo; ``seconds``: plainly so long.
        of_peer: as a part of what the peer needs.
    """

    of_peer: float
    echoes: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """One model and the input it is measured with; ``model`` is also the name it has in sire.

    Attributes:
        batch: how many requests may run together at most.
        concurrency: how many sire's worker works on at the same time, in threads.
        batches: the same, where it is worth measuring: a big input gains nothing by it.
    """

    size: str
    model: str
    class_name: str
    shape: tuple[int, ...]
    goals: Goals
    batch: int = 1
    batches: int = 1
    concurrency: int = 2

    @property
    def data(self) -> bytes:
        """One float32 input of ``shape``, the same numbers between 0 and 1 each time."""
        return _numbers(math.prod(self.shape))

    @property
    def request(self) -> Predict:
        """The request header that goes with ``data``."""
        tensor = TensorSpec("", "float32", self.shape)
        return Predict(model=self.model, content_type=TENSORS, tensors=(tensor,), accept=TENSORS)

    def batched(self) -> Self:
        """The same under another name, with requests that run together."""
        return replace(self, model=f"{self.model}-batched", batch=self.batches, concurrency=1)


@cache
def _numbers(count: int) -> bytes:
    random = Random(0)
    return array("f", (random.random() for _ in range(count))).tobytes()


SMALL = Workload(
    "3 KB", "perceptron", "Perceptron", (1, 768), Goals(of_peer=0.8, echoes=1.5), batches=8
)
LARGE = Workload(
    "600 KB", "small-cnn", "SmallCnn", (1, 3, 224, 224), Goals(of_peer=0.45, seconds=250e-6)
)
WORKLOADS = (SMALL, LARGE)
