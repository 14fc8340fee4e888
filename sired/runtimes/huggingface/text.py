"""Tokenizes texts, in forward passes of similar length."""

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer

from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import TransformersModel
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.comparison import alike

log = logging.getLogger("sired.worker")

# Outputs of a tokenizer that models take; not every model takes all of them.
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
# ``model_max_length`` of tokenizers without a limit is larger than this.
_NO_LIMIT = 1_000_000
# Different lengths, so that all but one are padded.
TRIAL = ("a", "some words in a row", "two words")

Row = str | tuple[str, str]


def find_tokenizer(made: TransformersModel, **kwargs: Any) -> Any:
    """The tokenizer in the model's directory; raises as ``load_beside``."""
    return load_beside(AutoTokenizer, made, **kwargs)


@dataclass(frozen=True)
class TokenBatch:
    """The texts of one forward pass.

    Attributes:
        places: indices of the texts in the request.
        tensors: the model's inputs, [texts, tokens], on its device.
    """

    places: list[int]
    tensors: dict[str, torch.Tensor]


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
        limit = made.options.max_input_tokens or longest or _limit(made, tokenizer)
        self._longest = limit if cut else None
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Linear layers of eight bits scale all rows of a pass by the largest number in any of them.
        padded = tokenizer.pad_token is not None and not made.options.quantized
        self._rows = made.options.rows if padded else 1
        self._precision = next(made.model.parameters()).element_size()

    def prove(self, answer: Callable[[Any], list[Any]], texts: Sequence[Row] = TRIAL) -> None:
        """Keep to one row for each pass unless padded rows have the answers that they have alone.

        Some models find the last token of a row by a padding token that their config does not
        state, or let padding shift the positions of a row.

        Args:
            answer: as for ``run``.
            texts: of different lengths.
        """
        if self._rows == 1:
            return
        rows, self._rows = self._rows, 1
        try:
            alone = self.run(texts, answer)
            self._rows = rows
            proven = alike(self.run(texts, answer), alone, self._precision)
        except Exception as problem:
            if is_out_of_memory(problem):
                raise
            log.info("several rows in one pass fail: %s", problem)
            proven = False
        if not proven:
            log.info("rows run one by one: padding changes their answers")
            self._rows = 1

    def passes(self, texts: Sequence[Row], **kwargs: Any) -> Iterator["TokenBatch"]:
        """The forward passes for texts, or for pairs of texts, but not for both.

        Texts of similar length share a pass, which minimises padding.
        """
        cut = {"truncation": True, "max_length": self._longest} if self._longest else {}
        columns = zip(*texts, strict=True) if isinstance(texts[0], tuple) else [texts]
        encoded = self._tokenizer(*map(list, columns), **cut, **kwargs)
        rows = encoded["input_ids"]
        order = sorted(range(len(texts)), key=lambda place: len(rows[place]))
        for first in range(0, len(order), self._rows):
            places = order[first : first + self._rows]
            part = {name: [column[place] for place in places] for name, column in encoded.items()}
            yield TokenBatch(places, self._tensors(part))

    def _tensors(self, part: dict[str, Any]) -> Any:
        if len(part["input_ids"]) > 1:
            part = self._tokenizer.pad(part)
        return {
            name: torch.tensor(rows, device=self._device)
            for name, rows in part.items()
            if name in self._taken
        }

    def run(
        self, texts: Sequence[Row], answer: Callable[[Any], list[Any]], *, special: bool = True
    ) -> list[Any]:
        """The outputs for texts, in their order.

        Args:
            texts: one or more, or pairs.
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
