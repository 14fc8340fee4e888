"""Reads directories of diffusers: a model_index.json, and a directory for each component."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sire.errors import InvalidModel, shown
from sire.json_file import read_json
from sire.model_directory import PIPELINE
from sired.store.fingerprint import fingerprint
from sired.store.huggingface import tensors_in, weights_in
from sired.store.safetensors_file import Tensor, bytes_in

# The names of weights, in the order in which diffusers looks for them; an index lists shards.
_WEIGHTS = (
    *("diffusion_pytorch_model.safetensors", "model.safetensors"),
    *("diffusion_pytorch_model.bin", "pytorch_model.bin"),
)


def is_diffusers(root: Path) -> bool:
    """Whether a directory contains a pipeline of diffusers."""
    return "_class_name" in read_json(root / PIPELINE)


def component_files(root: Path) -> list[Path]:
    """The files with the weights of all components, in order.

    Raises:
        InvalidModel: no component has weights, some files are missing, or the index refers to
            another directory.
    """
    index = read_json(root / PIPELINE)
    parts = (name for name, value in index.items() if isinstance(value, list) and any(value))
    found = [file for name in parts for file in _files(root, name)]
    if not found:
        raise InvalidModel(
            f"{root} has a {PIPELINE} but no weights.",
            hint="Check that it was downloaded completely.",
        )
    return found


def component_weights(root: Path) -> list[Tensor]:
    """The tensors of all components; a pickled file counts as one. Raises: as above."""
    return tensors_in(component_files(root))


def component_bytes(root: Path, arguments: Mapping[str, Any]) -> int:
    """Bytes of the weights in memory, in the dtype that they are loaded in."""
    wanted = arguments.get("dtype", "auto")
    return bytes_in(component_weights(root), "None" if wanted == "auto" else str(wanted))


def pipeline_fingerprint(root: Path, arguments: Mapping[str, Any]) -> str:
    """A digest of index, weights and arguments, as 32 hexadecimal digits."""
    parts = [fingerprint(file) for file in (root / PIPELINE, *component_files(root))]
    content = repr((parts, sorted(arguments.items())))
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def _files(root: Path, component: str) -> list[Path]:
    """The files with the weights of a component; empty for a scheduler or a tokenizer."""
    if "/" in component or component in {"", ".", ".."}:
        raise InvalidModel(f"{root}/{PIPELINE} has a component {shown(component)}.")
    return weights_in(root / component, _WEIGHTS)
