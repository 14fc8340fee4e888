"""Tasks that label texts, and what turns logits into labels."""

import inspect
from functools import partial
from typing import Any

import numpy as np
import torch
from msgspec import UNSET

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.items import items_in, objects_in, text_of, texts_of
from sired.runtimes.huggingface.table import ITEMS
from sired.runtimes.huggingface.task import Task, TransformersModel, object_array
from sired.runtimes.huggingface.text import TRIAL, Row, Tokens, find_tokenizer


class Labels:
    """The ``top_k`` most likely labels of each row, with their scores."""

    def __init__(self, made: TransformersModel) -> None:
        config = made.config
        self._names = [str(config.id2label[number]) for number in range(config.num_labels)]
        wanted = made.options.top_k
        self._most = min(1 if wanted is UNSET else wanted, len(self._names))
        self._function = made.options.function_to_apply
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
        function = self._function
        if function is UNSET:
            several = self._kind == "multi_label_classification" or len(self._names) == 1
            function = "sigmoid" if several else "softmax"
            function = "none" if self._kind == "regression" else function
        if function == "none":
            return logits
        return logits.sigmoid() if function == "sigmoid" else logits.softmax(-1)

    def table(self, rows: list[tuple[Any, Any]]) -> dict[str, Any]:
        """The output: ``label`` and float32 ``score``, [rows] if top_k is 1, else [rows, top_k]."""
        labels = np.array([names for names, _ in rows], object)
        scores = np.stack([values for _, values in rows])
        if self._most == 1:
            labels, scores = labels[:, 0], scores[:, 0]
        return {"label": labels, "score": scores}


class SequenceLogits:
    """The logits of texts or of pairs of texts, [labels] for each."""

    def __init__(self, made: TransformersModel) -> None:
        self._tokens = Tokens(made, find_tokenizer(made))
        parameters = inspect.signature(made.model.forward).parameters
        # As transformers' pipeline: what a generating model keeps for its next token is not needed.
        without = {"use_cache": False} if "use_cache" in parameters else {}
        self._model = partial(made.model, **without)
        self._tokens.prove(self._forward)

    def of(self, rows: list[Row]) -> torch.Tensor:
        """Logits, [rows, labels]; texts and pairs may be mixed."""
        found: list[Any] = [None] * len(rows)
        for kind in (str, tuple):
            places = [place for place, row in enumerate(rows) if isinstance(row, kind)]
            if places:
                logits = self._tokens.run([rows[place] for place in places], self._forward)
                for place, row in zip(places, logits, strict=True):
                    found[place] = row
        return torch.stack(found)

    def _forward(self, tokens: dict[str, torch.Tensor]) -> list[Any]:
        logits: torch.Tensor = self._model(**tokens).logits
        return list(logits)


class TextClassification(Task):
    """Classifies texts, or pairs of texts."""

    def __init__(self, made: TransformersModel) -> None:
        self._task = made.task
        self._logits = SequenceLogits(made)
        self._labels = Labels(made)
        self.signature = Signature((ITEMS,), self._labels.outputs)

    def run(self, data: Any) -> Any:
        """``label`` and ``score`` of each text or pair."""
        objects = objects_in([_object(item) for item in items_in(data)], self._task, {})
        rows = [row for item in objects for row in _rows(item)]
        return self._labels.table(self._labels.of(self._logits.of(rows)))

    def sample(self) -> Any:
        """One word."""
        return TRIAL[0]


def _object(item: Any) -> Any:
    """A list of two texts as the object that it stands for; other items unchanged."""
    if isinstance(item, list | tuple) and len(item) == 2:
        return dict(zip(("text", "text_pair"), item, strict=True))
    return item


def _rows(item: dict[str, Any]) -> list[Row]:
    """The text of an object, or its pair of texts; several if it has lists of them."""
    several = isinstance(item["text"], list)
    columns = [item[name] if several else [item[name]] for name in item]
    if len({len(column) for column in columns if isinstance(column, list)}) > 1:
        raise InvalidInput("text and text_pair are not equally many.")
    checked = [texts_of(column, name) for name, column in zip(item, columns, strict=True)]
    named = dict(zip(item, checked, strict=True))
    if "text_pair" in named:
        return list(zip(named["text"], named["text_pair"], strict=True))
    return list(named["text"])


class TextRanking(Task):
    """Rates documents by how well they answer a query, with a cross-encoder."""

    signature = Signature((ITEMS,), (TensorSpec("", "object", (-1,)),))

    def __init__(self, made: TransformersModel) -> None:
        self._task = made.task
        self._logits = SequenceLogits(made)
        self._most = made.options.top_k
        self._sigmoid = _has_sigmoid(made.config)

    def run(self, data: Any) -> Any:
        """For each query a list of objects with ``index`` and ``score``, the best first."""
        return object_array(self._ranked(item) for item in objects_in(data, self._task, {}))

    def sample(self) -> Any:
        """One word, and one document."""
        return {"query": TRIAL[0], "documents": [TRIAL[1]]}

    def _ranked(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        query = text_of(item["query"], "query")
        documents = [text_of(document, "A document") for document in items_in(item["documents"])]
        if not documents:
            raise InvalidInput("documents is empty.")
        logits = self._logits.of([(query, document) for document in documents])
        if logits.shape[1] != 1:
            raise InvalidInput(
                f"The model has {logits.shape[1]} labels, and no single score to rank by.",
                hint="Register it with --arg task=text-classification.",
            )
        column = logits.float()[:, 0]
        scores = (column.sigmoid() if self._sigmoid else column).cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        most = None if self._most is UNSET else self._most
        return [{"index": int(index), "score": scores[index]} for index in order[:most]]


def _has_sigmoid(config: Any) -> bool:
    """Whether scores are sigmoids of logits, as sentence-transformers' CrossEncoder decides."""
    own = getattr(config, "sentence_transformers", None) or {}
    function = own.get("activation_fn") or getattr(
        config, "sbert_ce_default_activation_function", ""
    )
    return not str(function or "Sigmoid").endswith("Identity")
