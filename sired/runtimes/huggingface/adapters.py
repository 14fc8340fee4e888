"""Adapters of PEFT, such as LoRA, on the model that they were trained on."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sire.model_directory import ADAPTER_WEIGHTS
from sired.runtimes.huggingface.architectures import check_packages
from sired.runtimes.huggingface.loading import errors_translated
from sired.runtimes.pytorch.unpickling import unpickle_plain

# What PEFT puts before the names of the model's own weights, and into those that it replaces.
_BEFORE, _REPLACED = "base_model.model.", "modules_to_save."
# Weights whose rows are the labels of a classifier.
_HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight")


class Adapter:
    """An adapter in a directory.

    Attributes:
        replaced: the names of the model's weights that the adapter has itself.

    Raises:
        InvalidModel: PEFT is not installed, or the adapter cannot be read.
    """

    def __init__(self, root: Path) -> None:
        check_packages(root)
        self._root = root
        with errors_translated(str(root)):
            weights = _read(root)
        names = {name.removeprefix(_BEFORE).replace(_REPLACED, ""): name for name in weights}
        self.replaced = frozenset(names)
        self._labels = {
            len(weights[given]) for name, given in names.items() if name.endswith(_HEADS)
        }

    def prepare(self, config: Any) -> None:
        """Let the model be made with as many labels as the adapter was trained for."""
        if len(self._labels) == 1:
            (labels,) = self._labels
            if config.num_labels != labels:
                config.num_labels = labels

    def apply(self, model: Any) -> None:
        """Add the adapter's weights to the model.

        Raises:
            InvalidModel: they do not belong to it.
        """
        with errors_translated(str(self._root)):
            local = {"local_files_only": True}
            found = model.load_adapter(str(self._root), adapter_kwargs=local)
            missing = sorted(getattr(found, "missing_keys", ()) or ())
            if missing:
                raise ValueError(f"it lacks the weights {', '.join(missing[:3])} of the adapter")
        model.eval()


def _read(root: Path) -> dict[str, torch.Tensor]:
    for name in ADAPTER_WEIGHTS:
        file = root / name
        if file.is_file() and file.suffix == ".safetensors":
            return load_file(file)
        if file.is_file():
            weights: dict[str, torch.Tensor] = unpickle_plain(str(file))
            return weights
    raise OSError(f"neither {' nor '.join(ADAPTER_WEIGHTS)} is there")
