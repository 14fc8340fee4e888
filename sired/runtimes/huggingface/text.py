"""Tokenizes texts, in forward passes of similar length."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer

from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import TransformersModel

# Outputs of a tokenizer that models take; not every model takes all of them.
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
# ``model_max_length`` of tokenizers without a limit is larger than this.
_NO_LIMIT = 1_000_000


def find_tokenizer(made: TransformersModel, **kwargs: Any) -> Any:
    """The tokenizer in the model's directory; raises as ``load_beside``."""
    return load_beside(AutoTokenizer, made, **kwargs)


@dataclass(frozen=True)
class TokenBatch:
    """The texts of one forward pass.

    Attributes:
        places: indices of the texts in the request.
        tensors: the model's inputs, [texts, tokens], on its device.
        columns: all outputs of the tokenizer by name, each with a list per text.
    """

    places: list[int]
    tensors: dict[str, torch.Tensor]
    columns: dict[str, list[Any]]


class Tokens:
    """Tokenizes texts for forward passes.

    Args:
        made: the model.
        tokenizer: of the model.
        longest: maximum number of tokens, if it is not the tokenizer that states it.
        cut: truncate longer texts.
    """

    def __init__(
        self,
        made: TransformersModel,
        tokenizer: Any,
        longest: int | None = None,
        *,
        cut: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self._device = made.device
        self._taken = _INPUTS & inspect.signature(made.model.forward).parameters.keys()
        self._rows = made.options.rows
        limit = made.options.max_input_tokens or longest or _limit(made, tokenizer)
        self._longest = limit if cut else None
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token is None:
            self._rows = 1  # rows cannot be padded

    def passes(self, texts: list[str], **kwargs: Any) -> Iterator["TokenBatch"]:
        """The forward passes for the texts.

        Texts of similar length share a pass, which minimises padding.
        """
        cut = {"truncation": True, "max_length": self._longest} if self._longest else {}
        encoded = self._tokenizer(texts, **cut, **kwargs)
        rows = encoded["input_ids"]
        order = sorted(range(len(texts)), key=lambda place: len(rows[place]))
        for first in range(0, len(order), self._rows):
            places = order[first : first + self._rows]
            part = {name: [column[place] for place in places] for name, column in encoded.items()}
            yield TokenBatch(places, self._tensors(part), part)

    def _tensors(self, part: dict[str, Any]) -> Any:
        if len(part["input_ids"]) > 1:
            part = self._tokenizer.pad(part)
        return {
            name: torch.tensor(rows, device=self._device)
            for name, rows in part.items()
            if name in self._taken
        }

    def run(
        self, texts: list[str], answer: Callable[[Any], list[Any]], *, special: bool = True
    ) -> list[Any]:
        """The outputs for texts, in their order.

        Args:
            texts: one or more.
            answer: computes a list with one output for each text of a pass.
            special: have the tokenizer add its special tokens.
        """
        found: list[Any] = [None] * len(texts)
        for one in self.passes(texts, add_special_tokens=special):
            for place, row in zip(one.places, answer(one.tensors), strict=True):
                found[place] = row
        return found


def _limit(made: TransformersModel, tokenizer: Any) -> int | None:
    """Maximum number of tokens, by the tokenizer or else by the position embeddings."""
    if tokenizer.model_max_length < _NO_LIMIT:
        return int(tokenizer.model_max_length)
    positions: int | None = getattr(made.config, "max_position_embeddings", None)
    return positions
