"""The interface of tasks, and what they have in common."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sire.errors import InvalidInput
from sire.spec import Signature
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.table import TaskTraits

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TransformersModel:
    """A loaded model, and how it was loaded.

    Attributes:
        model: the transformers model.
        config: its config.
        directory: of the tokenizer and the processors.
        root: the directory that was registered: the same one, or a parent of it.
        device: of the weights.
        options: the model's arguments.
        task: what it is run for.
        trusted: whether code that comes with it may run.
    """

    model: Any
    config: Any
    directory: str
    root: str
    device: torch.device
    options: TransformersOptions
    task: TaskTraits
    trusted: bool


class Task(ABC):
    """Preprocesses inputs, runs the model, and postprocesses its outputs.

    Attributes:
        signature: of the task's inputs and outputs.
        layers: modules that it runs besides the model itself.
    """

    signature: Signature
    layers: Sequence[torch.nn.Module] = ()

    @abstractmethod
    def run(self, data: Any) -> Any:
        """Run the task once; see ``InferenceRuntime.predict``."""

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """Run the task once, with output in parts; see ``InferenceRuntime.stream``."""
        yield self.run(data)

    @abstractmethod
    def sample(self) -> Any:
        """The smallest input that exercises all steps."""


def unwrapped(data: Any) -> Any:
    """The only item of a dict or tuple with one item; other data unchanged."""
    if isinstance(data, dict) and len(data) == 1:
        (data,) = data.values()
    return data[0] if isinstance(data, tuple) and len(data) == 1 else data


def texts_in(data: Any) -> list[str]:
    """The texts of a request: a string, or a list or 1-dimensional array of strings.

    Raises:
        InvalidInput: the data is neither.
    """
    data = unwrapped(data)
    texts = [data] if isinstance(data, str) else list(data) if _is_row(data) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidInput("The model takes text: a string, or a list of strings.")
    return texts


def _is_row(data: Any) -> bool:
    return isinstance(data, list | tuple) or (isinstance(data, np.ndarray) and data.ndim == 1)


def object_array(items: Iterable[Any]) -> Array:
    """The items as a 1-dimensional array of Python objects."""
    found = list(items)
    array = np.empty(len(found), object)
    array[:] = found
    return array
