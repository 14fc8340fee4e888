"""Texts to tokens, in passes of similar length."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer

from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import TransformersModel

# What a tokenizer says that models run on; not every model takes all of it.
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
# What a tokenizer says where nobody told it a limit.
_NO_LIMIT = 1_000_000


def find_tokenizer(made: TransformersModel, **kwargs: Any) -> Any:
    """The tokenizer that lies beside the model; raises as ``load_beside``."""
    return load_beside(AutoTokenizer, made, **kwargs)


@dataclass(frozen=True)
class TokenBatch:
    """What runs together.

    Attributes:
        places: of the texts in the request.
        tensors: what the model takes, on its device.
        columns: all that the tokenizer said, a list for each text.
    """

    places: list[int]
    tensors: dict[str, torch.Tensor]
    columns: dict[str, list[Any]]


class Tokens:
    """Turns texts into what one forward pass takes.

    Args:
        made: the model.
        tokenizer: its own.
        longest: tokens at most, where something else than the tokenizer says so.
        cut: cut off what is longer.
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
            self._rows = 1  # nothing to fill rows up with

    def passes(self, texts: list[str], **kwargs: Any) -> Iterator["TokenBatch"]:
        """The passes that all of the texts take.

        Texts of similar length go together, so that little is filled up.
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
        """The answers to texts in their order, each pass being answered by ``answer``.

        Args:
            texts: one or more.
            answer: gives a row for each text of a pass.
            special: have the tokenizer add its special tokens.
        """
        found: list[Any] = [None] * len(texts)
        for one in self.passes(texts, add_special_tokens=special):
            for place, row in zip(one.places, answer(one.tensors), strict=True):
                found[place] = row
        return found


def _limit(made: TransformersModel, tokenizer: Any) -> int | None:
    """The tokens a model can take, by its tokenizer or else its positions."""
    if tokenizer.model_max_length < _NO_LIMIT:
        return int(tokenizer.model_max_length)
    positions: int | None = getattr(made.config, "max_position_embeddings", None)
    return positions
