"""Reads directories in Hugging Face's layout: a config.json, weights, and other files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sire.errors import InvalidModel, shown
from sire.json_file import read_json
from sire.model_directory import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    WEIGHTS,
    is_adapter,
    model_directory,
)
from sired.store.fingerprint import fingerprint, is_file
from sired.store.safetensors_file import Tensor, bytes_in, read_tensors


def is_huggingface(root: Path) -> bool:
    """Whether a directory contains a model that transformers can load, or an adapter of one."""
    if is_adapter(root):
        return "peft_type" in read_json(root / ADAPTER)
    config = read_json(model_directory(root, {}) / "config.json")
    return "model_type" in config or "architectures" in config


def weight_files(root: Path, arguments: Mapping[str, Any]) -> list[Path]:
    """The files that contain the weights, in order; an adapter's after those of its base.

    Args:
        root: the directory.
        arguments: the model's; only ``base`` is used, of an adapter.

    Raises:
        InvalidModel: no weights are found, or some files are missing.
    """
    return [*_files(model_directory(root, arguments)), *_adapter_files(root)]


def read_weights(root: Path) -> list[Tensor]:
    """The tensors of all weights in a directory; a pickled file counts as one tensor.

    Raises:
        InvalidModel: no weights are found, some files are missing, or one is damaged.
    """
    return tensors_in(_adapter_files(root) or weight_files(root, {}))


def loaded_bytes(root: Path, arguments: Mapping[str, Any]) -> int:
    """Bytes of the weights in memory, in the dtype that they are loaded in.

    Args:
        root: the directory.
        arguments: the model's; ``dtype`` is used, or else the dtype of the config, and ``base``.
    """
    config = read_json(model_directory(root, arguments) / "config.json")
    wanted = arguments.get("dtype", "auto")
    dtype = wanted if wanted != "auto" else config.get("dtype") or config.get("torch_dtype")
    return bytes_in(tensors_in(weight_files(root, arguments)), str(dtype))


def directory_fingerprint(root: Path, arguments: Mapping[str, Any]) -> str:
    """A digest of config, weights and arguments, as 32 hexadecimal digits."""
    inner = model_directory(root, arguments)
    configs = [inner / "config.json", *([root / ADAPTER] if is_adapter(root) else [])]
    parts = [fingerprint(file) for file in (*configs, *weight_files(root, arguments))]
    content = repr((parts, sorted(arguments.items())))
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def tensors_in(files: Iterable[Path]) -> list[Tensor]:
    """The tensors of weights files; a pickled file counts as one tensor.

    Raises:
        InvalidModel: one is damaged.
    """
    found: list[Tensor] = []
    for file in files:
        if file.suffix == ".safetensors":
            found += read_tensors(file)
        else:
            found.append(Tensor("", file.stat().st_size))
    return found


def _adapter_files(root: Path) -> list[Path]:
    """The file with the weights of an adapter; empty if the directory has none.

    Raises:
        InvalidModel: the directory has an adapter without weights.
    """
    if not is_adapter(root):
        return []
    found = [root / name for name in ADAPTER_WEIGHTS if (root / name).is_file()]
    if not found:
        raise InvalidModel(
            f"{root} has an adapter without weights: neither {' nor '.join(ADAPTER_WEIGHTS)}.",
            hint="Check that it was downloaded completely.",
        )
    return found[:1]


def _files(directory: Path) -> list[Path]:
    found = weights_in(directory, WEIGHTS)
    if not found:
        raise InvalidModel(
            f"{directory} has a config but no weights: neither {' nor '.join(WEIGHTS)}.",
            hint="Check that it was downloaded completely.",
        )
    return found


def weights_in(directory: Path, names: Iterable[str]) -> list[Path]:
    """The first of the named files, or the shards that its index lists; empty if there is none.

    Raises:
        InvalidModel: shards are missing.
    """
    for name in names:
        if (directory / name).is_file():
            return [directory / name]
        index = directory / f"{name}.index.json"
        if index.is_file():
            return [_shard(directory, name) for name in _shards(index)]
    return []


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
