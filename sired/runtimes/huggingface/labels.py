"""Tasks that label texts and their tokens, and what turns logits into labels."""

from typing import Any

import numpy as np
import torch

from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.task import (
    TEXTS,
    Task,
    TransformersModel,
    object_array,
    texts_in,
)
from sired.runtimes.huggingface.text import Tokens, find_tokenizer


class Labels:
    """The ``top_k`` most likely labels of each row, with their scores."""

    def __init__(self, made: TransformersModel) -> None:
        config = made.config
        self._names = [str(config.id2label[number]) for number in range(config.num_labels)]
        self._most = min(made.options.top_k, len(self._names))
        self._kind = getattr(config, "problem_type", None)
        shape = (-1,) if self._most == 1 else (-1, self._most)
        self.outputs = (TensorSpec("label", "string", shape), TensorSpec("score", "float32", shape))

    def of(self, logits: torch.Tensor) -> list[tuple[Any, Any]]:
        """Labels and scores of each row, most likely first.

        Scores are probabilities: softmax over all labels, or sigmoid of each if the model is
        multi-label. The scores of a regression are its values.

        Args:
            logits: [rows, labels].
        """
        scores = self._scores(logits.float())
        best = scores.topk(self._most, dim=-1)
        values, indices = best.values.cpu().numpy(), best.indices.cpu().tolist()
        names = [[self._names[index] for index in row] for row in indices]
        return list(zip(names, values, strict=True))

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        if self._kind == "regression":
            return logits
        if self._kind == "multi_label_classification" or len(self._names) == 1:
            return logits.sigmoid()
        return logits.softmax(-1)

    def table(self, rows: list[tuple[Any, Any]]) -> dict[str, Any]:
        """The output: ``label`` and float32 ``score``, [rows] if top_k is 1, else [rows, top_k]."""
        labels = np.array([names for names, _ in rows], object)
        scores = np.stack([values for _, values in rows])
        if self._most == 1:
            labels, scores = labels[:, 0], scores[:, 0]
        return {"label": labels, "score": scores}


class TextClassification(Task):
    """Classifies texts."""

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        tokenizer = find_tokenizer(made)
        self._tokens = Tokens(made, tokenizer)
        if made.config.pad_token_id is None:  # some models find the last token of a row by it
            made.config.pad_token_id = tokenizer.pad_token_id
        self._labels = Labels(made)
        self.signature = Signature((TEXTS,), self._labels.outputs)

    def run(self, data: Any) -> Any:
        """``label`` and ``score`` of each text."""
        found = self._tokens.run(texts_in(data), self._classify)
        return self._labels.table(found)

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def _classify(self, tokens: dict[str, torch.Tensor]) -> list[Any]:
        return self._labels.of(self._model(**tokens).logits)


class TokenClassification(Task):
    """Labels the tokens of a text, such as named entities."""

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        self._names = made.config.id2label
        self._tokens = Tokens(made, find_tokenizer(made))
        self.signature = Signature((TEXTS,), (TensorSpec("", "object", (-1,)),))

    def run(self, data: Any) -> Any:
        """A list of entities for each text, object[texts]; tokens labelled ``O`` are left out.

        An entity is a dict of ``entity``, ``score`` (the mean over its tokens), ``text``, and
        ``start`` and ``end`` in characters. Consecutive tokens of one kind form one entity, unless
        the label of the second begins with ``B-``.
        """
        texts = texts_in(data)
        found: list[Any] = [None] * len(texts)
        for one in self._tokens.passes(texts, return_offsets_mapping=True):
            best = self._model(**one.tensors).logits.float().softmax(-1).max(-1)
            scores, labels = best.values.cpu().numpy(), best.indices.cpu().tolist()
            for row, place in enumerate(one.places):
                spans = one.columns["offset_mapping"][row]
                named = [self._names[label] for label in labels[row]]
                found[place] = join(texts[place], spans, named, scores[row])
        return object_array(found)

    def sample(self) -> Any:
        """One word."""
        return "warm"


def join(text: str, spans: list[tuple[int, int]], labels: list[str], scores: Any) -> list[Any]:
    """Merge consecutive tokens of one kind into entities."""
    found: list[dict[str, Any]] = []
    parts: list[list[Any]] = []
    kind = None
    for (start, end), label, score in zip(spans, labels, scores, strict=False):
        if start == end:  # a special token that the tokenizer added
            continue
        before = kind
        place, kind = _parts(label)
        if kind is None:
            continue
        if kind != before or (place == "B" and not _within_word(text, start)):
            found.append({"entity": kind, "start": start})
            parts.append([])
        parts[-1].append(score)
        found[-1]["end"] = end
    return [
        {
            "entity": one["entity"],
            "score": np.float32(np.mean(part)),
            "text": text[one["start"] : one["end"]],
            "start": one["start"],
            "end": one["end"],
        }
        for one, part in zip(found, parts, strict=True)
    ]


def _parts(label: str) -> tuple[str, str | None]:
    """Split ``B-LOC`` into ``B`` and ``LOC``; the kind of ``O``, no entity, is None."""
    if label == "O":
        return "", None
    place, dash, kind = label.partition("-")
    return (place, kind) if dash and len(place) == 1 else ("", label)


def _within_word(text: str, start: int) -> bool:
    """Whether a token continues a word; only the first token of a word has its label."""
    return start > 0 and text[start - 1].isalnum() and text[start].isalnum()
