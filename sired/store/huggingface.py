"""Reads directories in Hugging Face's layout: a config.json, weights, and other files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sire.errors import InvalidModel, shown
from sire.json_file import read_json
from sired.store.fingerprint import fingerprint, is_file
from sired.store.safetensors_file import Tensor, bytes_in, read_tensors

# In the order in which transformers looks for them. An index names the files of the shards.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def is_huggingface(root: Path) -> bool:
    """Whether a directory contains a model that transformers can load."""
    config = read_json(_inner(root) / "config.json")
    return "model_type" in config or "architectures" in config


def weight_files(root: Path) -> list[Path]:
    """The files that contain the weights, in order.

    Raises:
        InvalidModel: no weights are found, or some files are missing.
    """
    return _files(_inner(root))


def read_weights(root: Path) -> list[Tensor]:
    """The tensors of all weights; a pickled file counts as one tensor.

    Raises:
        InvalidModel: no weights are found, some files are missing, or one is damaged.
    """
    found: list[Tensor] = []
    for file in weight_files(root):
        if file.suffix == ".safetensors":
            found += read_tensors(file)
        else:
            found.append(Tensor("", file.stat().st_size))
    return found


def loaded_bytes(root: Path, arguments: Mapping[str, Any]) -> int:
    """Bytes of the weights in memory, in the dtype that they are loaded in.

    Args:
        root: the directory.
        arguments: the model's; only ``dtype`` is used, or else the dtype of the config.
    """
    config = read_json(_inner(root) / "config.json")
    wanted = arguments.get("dtype", "auto")
    dtype = wanted if wanted != "auto" else config.get("dtype") or config.get("torch_dtype")
    return bytes_in(read_weights(root), str(dtype))


def directory_fingerprint(root: Path, arguments: Mapping[str, Any]) -> str:
    """A digest of config, weights and arguments, as 32 hexadecimal digits."""
    inner = _inner(root)
    parts = [fingerprint(file) for file in (inner / "config.json", *_files(inner))]
    content = repr((parts, sorted(arguments.items())))
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def _inner(root: Path) -> Path:
    """The directory of the model; older sentence-transformers use a subdirectory."""
    if (root / "config.json").is_file() and "model_type" in read_json(root / "config.json"):
        return root
    for module in read_json(root / "modules.json", list) or ():
        if not isinstance(module, dict):
            continue
        if str(module.get("type", "")).endswith("Transformer") and module.get("path"):
            return _inside(root, str(module["path"]))
    return root


def _inside(root: Path, name: str) -> Path:
    """A subdirectory by its relative path.

    Raises:
        InvalidModel: the path leads outside of ``root``.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InvalidModel(f"{root}/modules.json refers to {shown(name)}, outside of it.")
    return root / name


def _files(directory: Path) -> list[Path]:
    for name in _WEIGHTS:
        if (directory / name).is_file():
            return [directory / name]
        index = directory / f"{name}.index.json"
        if index.is_file():
            return [_shard(directory, name) for name in _shards(index)]
    raise InvalidModel(
        f"{directory} has a config but no weights: neither {' nor '.join(_WEIGHTS)}.",
        hint="Check that it was downloaded completely.",
    )


def _shards(index: Path) -> list[str]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise InvalidModel(f"{index} does not list any weights.")
    return sorted({str(name) for name in shards.values()})


def _shard(directory: Path, name: str) -> Path:
    if "/" in name or not is_file(directory / name):
        raise InvalidModel(
            f"{directory} lacks {shown(name)}, which contains a part of its weights.",
            hint="Check that it was downloaded completely.",
        )
    return directory / name
