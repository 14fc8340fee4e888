"""Pictures of texts, by the pipelines of diffusers."""

import inspect
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.items import objects_in, text_of
from sired.runtimes.huggingface.loading import DTYPES, errors_translated
from sired.runtimes.huggingface.table import ITEMS, TASKS
from sired.runtimes.huggingface.task import Task
from sired.runtimes.wanted import check_wanted

# A pass runs each of them; a warm-up needs one.
_STEPS = "num_inference_steps"


def load_pipeline(root: Path, options: TransformersOptions, device: torch.device) -> Any:
    """The pipeline in a directory, on a device. No code that comes with it runs.

    Raises:
        InvalidModel: it cannot be read, or weights of eight bits are wanted.
    """
    if options.quantized:
        raise InvalidModel("Pipelines of diffusers have no linear layers of eight bits.")
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    dtype = DTYPES[options.dtype]
    given = {"torch_dtype": dtype} if isinstance(dtype, torch.dtype) else {}
    with errors_translated(str(root)):
        loads: Any = diffusers.DiffusionPipeline
        pipe = loads.from_pretrained(
            str(root), local_files_only=True, trust_remote_code=False, **given
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


class TextToImage(Task):
    """Makes one picture of each text, one at a time."""

    signature = Signature((ITEMS,), (TensorSpec("", "uint8", (-1, -1, -1, 3)),))

    def __init__(self, pipe: Any, options: TransformersOptions) -> None:
        self._pipe, self._task = pipe, TASKS["text-to-image"]
        self.layers = [
            part for part in pipe.components.values() if isinstance(part, torch.nn.Module)
        ]
        self._taken = inspect.signature(pipe.__call__).parameters.keys()
        self._defaults = options.of_task(self._task.options)
        if "prompt" not in self._taken:
            raise InvalidModel(f"{type(pipe).__name__} does not make pictures of texts.")
        if unknown := self._defaults.keys() - {"seed"} - self._taken:
            raise InvalidModel(f"{type(pipe).__name__} takes no {min(unknown)}.")

    def run(self, data: Any) -> Any:
        """uint8[texts, height, width, 3]; a list of pictures if their sizes differ."""
        objects = objects_in(data, self._task, self._defaults)
        pictures = [self._draw(item) for item in objects]
        same = len({picture.shape for picture in pictures}) == 1
        return np.stack(pictures) if same else pictures

    def sample(self) -> Any:
        """One word, and one step."""
        return {"prompt": "warm", _STEPS: 1}

    def _draw(self, item: dict[str, Any]) -> Any:
        given = {**item, "prompt": text_of(item["prompt"], "prompt")}
        seed = given.pop("seed", None)
        if seed is not None:
            given["generator"] = torch.Generator("cpu").manual_seed(int(seed))
        if unknown := given.keys() - self._taken:
            raise InvalidInput(f"The pipeline takes no {min(unknown)}.")
        if "callback_on_step_end" in self._taken:
            given["callback_on_step_end"] = _continue
        return np.asarray(self._pipe(**given).images[0].convert("RGB"))


def _continue(_pipe: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Go on with the next step, unless the client has gone."""
    check_wanted()
    return values
