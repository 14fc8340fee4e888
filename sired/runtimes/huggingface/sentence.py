"""Reads the files of sentence-transformers, which state how embeddings are computed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from sire.errors import InvalidModel
from sire.json_file import read_json
from sire.model_directory import model_directory, sentence_modules
from sired.runtimes.huggingface.pooling import POOLINGS

# modules.json names them by their module path, which differs between versions.
_TRANSFORMER, _POOLING, _DENSE, _NORMALIZE = "Transformer", "Pooling", "Dense", "Normalize"


@dataclass(frozen=True)
class EmbeddingPipeline:
    """How hidden states become an embedding.

    Attributes:
        poolings: names of ``POOLINGS``.
        dense: layers after pooling.
        normalize: whether the embedding is scaled to length 1.
        longest: maximum number of tokens; None if it is not stated.
        lower: whether texts are converted to lower case.
        prompt: prefix of every text.
    """

    poolings: tuple[str, ...] = ("mean",)
    dense: tuple[torch.nn.Sequential, ...] = ()
    normalize: bool = False
    longest: int | None = None
    lower: bool = False
    prompt: str = ""


def read_pipeline(root: Path) -> EmbeddingPipeline:
    """Read a model's directory; without files of sentence-transformers, tokens are averaged.

    Raises:
        InvalidModel: a module is not supported, or a file is damaged.
    """
    config = read_json(model_directory(root, {}) / "sentence_bert_config.json")
    prompts = read_json(root / "config_sentence_transformers.json")
    dense: list[torch.nn.Sequential] = []
    poolings: tuple[str, ...] = ("mean",)
    normalize = False
    for kind, path in sentence_modules(root):
        if kind == _POOLING:
            poolings = _poolings(root / path)
        elif kind == _DENSE:
            dense.append(_dense(root / path))
        elif kind == _NORMALIZE:
            normalize = True
        elif kind != _TRANSFORMER:
            raise InvalidModel(f"{root} has a module {kind}, which is not supported.")
    return EmbeddingPipeline(
        poolings,
        tuple(dense),
        normalize,
        config.get("max_seq_length"),
        bool(config.get("do_lower_case")),
        (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), ""),
    )


def _poolings(directory: Path) -> tuple[str, ...]:
    config = read_json(directory / "config.json")
    named = config.get("pooling_mode")
    if named is not None:
        found = (named,) if isinstance(named, str) else tuple(named)
    else:
        # Older files have a switch for each, in the order of concatenation.
        switches = ("cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken")
        on = [name for name in switches if config.get(f"pooling_mode_{name}_tokens")]
        on += [name for name in ("cls", "lasttoken") if config.get(f"pooling_mode_{name}_token")]
        order = list(POOLINGS)
        found = tuple(sorted(map(_switched, on), key=order.index)) or ("mean",)
    _check_poolings(found)
    return found


def _switched(name: str) -> str:
    return f"{name}_tokens" if name == "mean_sqrt_len" else name


def _check_poolings(names: tuple[str, ...]) -> None:
    """Reject unknown poolings.

    Raises:
        InvalidModel: a name is not in ``POOLINGS``.
    """
    if unknown := [name for name in names if name not in POOLINGS]:
        raise InvalidModel(
            f"The pooling {unknown[0]!r} is not supported.",
            hint=f"Supported are: {', '.join(POOLINGS)}.",
        )


def _dense(directory: Path) -> torch.nn.Sequential:
    """A linear layer and its activation, with their weights."""
    config = read_json(directory / "config.json")
    bias = config.get("bias", True)
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias)
    name = str(config.get("activation_function") or "Identity").rpartition(".")[2]
    activation = getattr(torch.nn.modules.activation, name, torch.nn.Identity)()
    file = directory / "model.safetensors"
    if config.get("use_residual") or not file.is_file():
        raise InvalidModel(f"The dense layer in {directory} is not supported.")
    weights = {key.removeprefix("linear."): value for key, value in load_file(file).items()}
    linear.load_state_dict(weights)
    return torch.nn.Sequential(linear, activation)
