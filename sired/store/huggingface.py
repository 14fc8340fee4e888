"""Directories in Hugging Face's layout: a config.json, weights, and whatever else."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from sire.errors import InvalidModel, error_text, shown
from sired.store.fingerprint import fingerprint, is_file
from sired.store.safetensors_file import Tensor, bytes_in, read_tensors

# In the order in which transformers looks for them; an index names the files of its parts.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# An index names every tensor of a model.
_LARGEST_JSON = 64 << 20


def is_huggingface(root: Path) -> bool:
    """Whether a directory holds a model that transformers loads."""
    config = _json(_inner(root) / "config.json")
    return "model_type" in config or "architectures" in config


def weight_files(root: Path) -> list[Path]:
    """The files that the weights are in.

    Raises:
        InvalidModel: there are none, or some are missing.
    """
    return _files(_inner(root))


def read_weights(root: Path) -> list[Tensor]:
    """The tensors of all weights; a pickled file counts as one.

    Raises:
        InvalidModel: there are none, some are missing, or one is damaged.
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
        arguments: the model's; its ``dtype`` counts, or else what the config says.
    """
    config = _json(_inner(root) / "config.json")
    said = arguments.get("dtype", "auto")
    dtype = said if said != "auto" else config.get("dtype") or config.get("torch_dtype")
    return bytes_in(read_weights(root), str(dtype))


def directory_fingerprint(root: Path, arguments: Mapping[str, Any]) -> str:
    """A digest of config, weights and how they are loaded, as ``fingerprint`` for a file."""
    inner = _inner(root)
    parts = [fingerprint(file) for file in (inner / "config.json", *_files(inner))]
    said = repr((parts, sorted(arguments.items())))
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()[:32]


def _inner(root: Path) -> Path:
    """Where the model is: older directories of sentence-transformers keep it one level down."""
    if (root / "config.json").is_file() and "model_type" in _json(root / "config.json"):
        return root
    for module in _json(root / "modules.json", list) or ():
        if not isinstance(module, dict):
            continue
        if str(module.get("type", "")).endswith("Transformer") and module.get("path"):
            return _inside(root, str(module["path"]))
    return root


def _inside(root: Path, name: str) -> Path:
    """A directory below another one.

    Raises:
        InvalidModel: it is somewhere else.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InvalidModel(f"{root} names {shown(name)}, outside of it, in its modules.json.")
    return root / name


def _files(directory: Path) -> list[Path]:
    for name in _WEIGHTS:
        if (directory / name).is_file():
            return [directory / name]
        index = directory / f"{name}.index.json"
        if index.is_file():
            return [_part(directory, part) for part in _parts(index)]
    raise InvalidModel(
        f"{directory} has a config and no weights: neither {' nor '.join(_WEIGHTS)}.",
        hint="Was it downloaded completely?",
    )


def _parts(index: Path) -> list[str]:
    parts = _json(index).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise InvalidModel(f"{index} names no weights.")
    return sorted({str(part) for part in parts.values()})


def _part(directory: Path, name: str) -> Path:
    if "/" in name or not is_file(directory / name):
        raise InvalidModel(
            f"{directory} lacks {shown(name)}, which holds a part of its weights.",
            hint="Was it downloaded completely?",
        )
    return directory / name


def _json(path: Path, kind: type = dict) -> Any:
    """What is in a file; nothing if there is none, or something else.

    Raises:
        InvalidModel: it is no JSON, or far larger than such a file ever is.
    """
    if not is_file(path):
        return kind()
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise InvalidModel(f"{path} has {path.stat().st_size} bytes: {_LARGEST_JSON} are read.")
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise InvalidModel(f"{path} cannot be read: {error_text(problem)}.") from None
    return found if isinstance(found, kind) else kind()
