"""What a model is for, and what all tasks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.arguments import TransformersOptions

Array = np.ndarray[Any, Any]
TEXTS = TensorSpec("text", "string", (-1,))


@dataclass(frozen=True)
class TransformersModel:
    """A model that was loaded, and what it came with.

    Attributes:
        directory: where the model's config, weights and tokenizer are.
        root: the directory that was registered: the same, or one above it.
        trusted: whether code that came with it may run.
    """

    model: Any
    config: Any
    directory: str
    root: str
    device: torch.device
    options: TransformersOptions
    trusted: bool


class Task(ABC):
    """What a model is run for: knows its inputs, and how to answer them.

    Attributes:
        layers: what it runs besides the model itself.
    """

    signature: Signature
    layers: Sequence[torch.nn.Module] = ()

    @abstractmethod
    def run(self, data: Any) -> Any:
        """Answer one request; see ``InferenceRuntime.predict``."""

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """Answer one request in parts; see ``InferenceRuntime.stream``."""
        yield self.run(data)

    @abstractmethod
    def sample(self) -> Any:
        """The smallest input that goes all the way."""


def only(data: Any) -> Any:
    """The one input, where it came with a name or in a row of one."""
    if isinstance(data, dict) and len(data) == 1:
        (data,) = data.values()
    return data[0] if isinstance(data, tuple) and len(data) == 1 else data


def texts_in(data: Any) -> list[str]:
    """The texts of a request: one, a list, or an array of them, perhaps by the name ``text``.

    Raises:
        InvalidInput: it is something else.
    """
    data = only(data)
    texts = [data] if isinstance(data, str) else list(data) if _is_row(data) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidInput("The model takes text: one, or a list of several.")
    return texts


def _is_row(data: Any) -> bool:
    return isinstance(data, list | tuple) or (isinstance(data, np.ndarray) and data.ndim == 1)


def objects(items: Iterable[Any]) -> Array:
    """One row for each item, whatever it is."""
    found = list(items)
    array = np.empty(len(found), object)
    array[:] = found
    return array
