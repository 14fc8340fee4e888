"""Where the parts of a model in Hugging Face's layout lie: config, weights, adapter and base."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sire.errors import InvalidModel, shown
from sire.json_file import read_json

# In the order in which transformers looks for them. An index names the files of the shards.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ADAPTER = "adapter_config.json"
# Of diffusers: it lists the components, each in a directory of its own.
PIPELINE = "model_index.json"
_INDEX = ".index.json"
# What sentence-transformers call the module that has the model in its directory.
_TRANSFORMER = "Transformer"


def sentence_modules(root: Path) -> list[tuple[str, str]]:
    """The modules of sentence-transformers in order: the name of the class, and its directory."""
    found = (one for one in read_json(root / "modules.json", list) if isinstance(one, dict))
    return [
        (str(one.get("type", "")).rpartition(".")[2], str(one.get("path", ""))) for one in found
    ]


def model_directory(root: Path, arguments: Mapping[str, Any]) -> Path:
    """The directory with the config and the weights of a model.

    It is the root, the directory of the base of an adapter, or one that modules.json of older
    sentence-transformers names.

    Args:
        root: the directory that is registered.
        arguments: the model's; ``base`` is the base of an adapter.

    Raises:
        InvalidModel: the base is not on this machine, or modules.json refers to another directory.
    """
    if is_adapter(root):
        root = base_of(root, arguments)
    if "model_type" in read_json(root / "config.json"):
        return root
    own = [path for kind, path in sentence_modules(root) if kind == _TRANSFORMER and path]
    return _inside(root, own[0]) if own else root


def is_adapter(root: Path) -> bool:
    """Whether a directory has an adapter of PEFT, such as LoRA, and not the model it adapts."""
    if not (root / ADAPTER).is_file():
        return False
    own = (root / f"{name}{end}" for name in WEIGHTS for end in ("", _INDEX))
    return not any(file.is_file() for file in own)


def base_name(root: Path) -> str:
    """What an adapter calls its base: a path, or a name on the hub."""
    return str(read_json(root / ADAPTER).get("base_model_name_or_path") or "")


def base_of(root: Path, arguments: Mapping[str, Any]) -> Path:
    """The directory of the model that an adapter adapts.

    Args:
        root: the adapter's directory.
        arguments: the model's; ``base`` takes precedence over what the adapter states.

    Raises:
        InvalidModel: it is not on this machine.
    """
    named = str(arguments.get("base") or base_name(root))
    found = root / named
    if not named or not is_directory(found):
        raise InvalidModel(
            f"{root} is an adapter of {shown(named)}, which is not a directory on this machine.",
            hint="Specify the directory of its base: --arg base=DIRECTORY",
        )
    return found


def is_directory(path: Path) -> bool:
    """Whether there is such a directory; not if the file system refuses the path's text."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long
        return False


def _inside(root: Path, name: str) -> Path:
    """A subdirectory by its relative path.

    Raises:
        InvalidModel: the path leads outside of ``root``.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InvalidModel(f"{root}/modules.json refers to {shown(name)}, outside of it.")
    return root / name
