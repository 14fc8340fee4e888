"""What sentence-transformers keeps beside a model: how its states become embeddings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sire.errors import InvalidModel
from sired.runtimes.huggingface.pooling import POOLINGS

# modules.json names them by their place in the package, which has changed over the years.
_TRANSFORMER, _POOLING, _DENSE, _NORMALIZE = "Transformer", "Pooling", "Dense", "Normalize"


@dataclass(frozen=True)
class Recipe:
    """From the states of a model to an embedding.

    Attributes:
        poolings: names of ``POOLINGS``.
        dense: layers that come after.
        normalize: whether the embedding gets length 1 in the end.
        longest: tokens at most; None if nothing is said.
        lower: whether texts are made lower case.
        prompt: what stands before every text.
    """

    poolings: tuple[str, ...] = ("mean",)
    dense: tuple[torch.nn.Sequential, ...] = ()
    normalize: bool = False
    longest: int | None = None
    lower: bool = False
    prompt: str = ""


def transformer_directory(root: Path) -> Path:
    """Where the model itself is: a directory that modules.json names, or the root."""
    own = [path for kind, path in _modules(root) if kind == _TRANSFORMER]
    return root / own[0] if own else root


def read_recipe(root: Path) -> Recipe:
    """Read what lies in a directory; the mean is taken where sentence-transformers says nothing.

    Raises:
        InvalidModel: there is a module that is not known here, or a file is damaged.
    """
    said = read_json(transformer_directory(root) / "sentence_bert_config.json")
    prompts = read_json(root / "config_sentence_transformers.json")
    dense: list[torch.nn.Sequential] = []
    poolings: tuple[str, ...] = ("mean",)
    normalize = False
    for kind, path in _modules(root):
        if kind == _POOLING:
            poolings = _poolings(root / path)
        elif kind == _DENSE:
            dense.append(_dense(root / path))
        elif kind == _NORMALIZE:
            normalize = True
        elif kind != _TRANSFORMER:
            raise InvalidModel(f"{root} has a module {kind}, which is not known.")
    return Recipe(
        poolings,
        tuple(dense),
        normalize,
        said.get("max_seq_length"),
        bool(said.get("do_lower_case")),
        (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), ""),
    )


def read_json(path: Path) -> Any:
    """What is in a file; nothing if there is none.

    Raises:
        InvalidModel: it is damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise InvalidModel(f"{path} cannot be read: {problem}.") from None


def _modules(root: Path) -> list[tuple[str, str]]:
    found = read_json(root / "modules.json")
    return [(str(one["type"]).rpartition(".")[2], str(one["path"])) for one in found or ()]


def _poolings(directory: Path) -> tuple[str, ...]:
    said = read_json(directory / "config.json")
    named = said.get("pooling_mode")
    if named is not None:
        found = (named,) if isinstance(named, str) else tuple(named)
    else:
        # Files of before have a switch for each, in the order in which they go beside each other.
        switches = ("cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken")
        on = [name for name in switches if said.get(f"pooling_mode_{name}_tokens")]
        on += [name for name in ("cls", "lasttoken") if said.get(f"pooling_mode_{name}_token")]
        order = list(POOLINGS)
        found = tuple(sorted(map(_switched, on), key=order.index)) or ("mean",)
    check_poolings(found)
    return found


def _switched(name: str) -> str:
    return f"{name}_tokens" if name == "mean_sqrt_len" else name


def check_poolings(names: tuple[str, ...]) -> None:
    """Refuse what is no pooling.

    Raises:
        InvalidModel: one of them is none.
    """
    if unknown := [name for name in names if name not in POOLINGS]:
        raise InvalidModel(
            f"There is no pooling {unknown[0]!r}.", hint=f"There are: {', '.join(POOLINGS)}."
        )


def _dense(directory: Path) -> torch.nn.Sequential:
    """A linear layer and its activation, with their weights."""
    said = read_json(directory / "config.json")
    linear = torch.nn.Linear(said["in_features"], said["out_features"], said.get("bias", True))
    name = str(said.get("activation_function") or "Identity").rpartition(".")[2]
    activation = getattr(torch.nn.modules.activation, name, torch.nn.Identity)()
    file = directory / "model.safetensors"
    if said.get("use_residual") or not file.is_file():
        raise InvalidModel(f"{directory} is no dense layer that is known.")
    weights = {key.removeprefix("linear."): value for key, value in load_file(file).items()}
    linear.load_state_dict(weights)
    return torch.nn.Sequential(linear, activation)
