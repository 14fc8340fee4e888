"""Logits to labels: texts and pictures in classes, and the names in a text."""

from typing import Any

import numpy as np
import torch

from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.task import TEXTS, Task, TransformersModel, objects, texts_in
from sired.runtimes.huggingface.text import Tokens, find_tokenizer


class Labels:
    """The likeliest labels of each row, and how likely they are."""

    def __init__(self, made: TransformersModel) -> None:
        config = made.config
        self._names = [str(config.id2label[number]) for number in range(config.num_labels)]
        self._most = min(made.options.top_k, len(self._names))
        self._kind = getattr(config, "problem_type", None)
        shape = (-1,) if self._most == 1 else (-1, self._most)
        self.outputs = (TensorSpec("label", "string", shape), TensorSpec("score", "float32", shape))

    def of(self, logits: torch.Tensor) -> list[tuple[Any, Any]]:
        """Labels and scores of each row, the likeliest first.

        The scores are probabilities: of one label among all (softmax), of each by itself where
        several may be true (sigmoid). A regression's are the values themselves.
        """
        scores = self._scores(logits.float())
        best = scores.topk(self._most, dim=-1)
        values, places = best.values.cpu().numpy(), best.indices.cpu().tolist()
        names = [[self._names[place] for place in row] for row in places]
        return list(zip(names, values, strict=True))

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        if self._kind == "regression":
            return logits
        if self._kind == "multi_label_classification" or len(self._names) == 1:
            return logits.sigmoid()
        return logits.softmax(-1)

    def table(self, rows: list[tuple[Any, Any]]) -> dict[str, Any]:
        """The answer: ``label`` and ``score``, [rows] of the best or [rows, top_k]."""
        labels = np.array([names for names, _ in rows], object)
        scores = np.stack([values for _, values in rows])
        if self._most == 1:
            labels, scores = labels[:, 0], scores[:, 0]
        return {"label": labels, "score": scores}


class TextClassification(Task):
    """What kind of text it is."""

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        tokenizer = find_tokenizer(made)
        self._tokens = Tokens(made, tokenizer)
        if made.config.pad_token_id is None:  # it finds the last token of a row by it
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
    """The names in a text, or whatever else its tokens are."""

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        self._names = made.config.id2label
        self._tokens = Tokens(made, find_tokenizer(made))
        self.signature = Signature((TEXTS,), (TensorSpec("", "object", (-1,)),))

    def run(self, data: Any) -> Any:
        """For each text a list of what was found in it; ``O`` stands for nothing and is left out.

        Each is a dict of ``entity``, ``score`` (the mean of its tokens'), ``text``, and ``start``
        and ``end`` in characters. Tokens of one kind that follow each other are one, unless the
        second's label begins with ``B-``.
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
        return objects(found)

    def sample(self) -> Any:
        """One word."""
        return "warm"


def join(text: str, spans: list[tuple[int, int]], labels: list[str], scores: Any) -> list[Any]:
    """Neighbouring tokens of one kind, as one."""
    found: list[dict[str, Any]] = []
    parts: list[list[Any]] = []
    kind = None
    for (start, end), label, score in zip(spans, labels, scores, strict=False):
        if start == end:  # a token that the tokenizer put in
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
    """``B-LOC`` as ``B`` and ``LOC``; no kind for ``O``, which is nothing."""
    if label == "O":
        return "", None
    place, dash, kind = label.partition("-")
    return (place, kind) if dash and len(place) == 1 else ("", label)


def _within_word(text: str, start: int) -> bool:
    """Whether a token goes on with the word before it: only a word's first token has its label."""
    return start > 0 and text[start - 1].isalnum() and text[start].isalnum()
