"""Extractive question answering: the part of a text that answers a question.

transformers 5 has no pipeline for it. The answers are those of the pipeline of transformers 4; only
the choice of spans is still in transformers, for documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.pipelines.document_question_answering import select_starts_ends

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.items import objects_in, text_of
from sired.runtimes.huggingface.table import ITEMS
from sired.runtimes.huggingface.task import Task, TransformersModel, object_array
from sired.runtimes.huggingface.text import find_tokenizer

# The pipeline's own limits, in tokens.
_LONGEST, _OVERLAP, _ANSWER = 384, 128, 15
# Larger than any score.
_NO_ANSWER = 1_000_000
_NOTHING = {"answer": "", "score": np.float32(0), "start": 0, "end": 0}


@dataclass(frozen=True)
class _Part:
    """A part of the context with the question, as the model takes it.

    Attributes:
        encoding: of the tokenizers package: offsets and words of the tokens.
        tensors: the model's inputs, [1, tokens].
        masked: for each token, whether it is not part of the context.
    """

    encoding: Any
    tensors: dict[str, torch.Tensor]
    masked: list[bool]


class QuestionAnswering(Task):
    """Finds the answers to questions in their contexts, one question at a time."""

    signature = Signature((ITEMS,), (TensorSpec("", "object", (-1,)),))

    def __init__(self, made: TransformersModel) -> None:
        self._task, self._model, self._device = made.task, made.model, made.device
        self._tokenizer = find_tokenizer(made)
        if not self._tokenizer.is_fast:
            raise InvalidModel(
                f"{made.directory} has no tokenizer that knows the places of tokens in a text.",
                hint="Save a fast tokenizer (tokenizer.json) beside the model.",
            )
        self._defaults = made.options.of_task(made.task.options)
        self._context_first = self._tokenizer.padding_side == "left"

    def run(self, data: Any) -> Any:
        """The answer to each question, with ``score``, and ``start`` and ``end`` in characters."""
        objects = objects_in(data, self._task, self._defaults)
        return object_array(self._answer(**item) for item in objects)

    def sample(self) -> Any:
        """One word for each."""
        return {"question": "warm", "context": "warm"}

    def _answer(
        self,
        question: Any,
        context: Any,
        top_k: int = 1,
        max_answer_len: int = _ANSWER,
        doc_stride: int | None = None,
        handle_impossible_answer: bool = False,
    ) -> Any:
        context = text_of(context, "context")
        if not context or not text_of(question, "question"):
            raise InvalidInput("question and context must not be empty.")
        found: list[dict[str, Any]] = []
        nothing = _NO_ANSWER
        for part in self._parts(question, context, doc_stride):
            outputs = self._model(**part.tensors)
            starts, ends, scores, nothing = select_starts_ends(
                outputs.start_logits.float().cpu().numpy(),
                outputs.end_logits.float().cpu().numpy(),
                p_mask=part.masked,
                attention_mask=np.array(part.encoding.attention_mask),
                min_null_score=nothing,
                top_k=top_k,
                handle_impossible_answer=handle_impossible_answer,
                max_answer_len=max_answer_len,
            )
            for start, end, score in zip(starts, ends, scores, strict=True):
                self._add(found, context, self._characters(part.encoding, start, end), score)
        if handle_impossible_answer:
            found.append({**_NOTHING, "score": np.float32(nothing)})
        found.sort(key=lambda answer: -float(answer["score"]))
        return (found or [_NOTHING])[0] if top_k == 1 else found[:top_k]

    def _parts(self, question: str, context: str, overlap: int | None) -> Iterator[_Part]:
        """The parts of the context that the model can take with the question."""
        tokenizer = self._tokenizer
        longest = min(tokenizer.model_max_length, _LONGEST)
        texts = (context, question) if self._context_first else (question, context)
        encoded = tokenizer(
            *texts,
            truncation="only_first" if self._context_first else "only_second",
            max_length=longest,
            stride=min(longest // 2, _OVERLAP) if overlap is None else overlap,
            return_token_type_ids=True,
            return_overflowing_tokens=True,
        )
        own = 0 if self._context_first else 1
        for place, encoding in enumerate(encoded.encodings):
            tensors = {
                name: torch.tensor([encoded[name][place]], device=self._device)
                for name in tokenizer.model_input_names
                if name in encoded
            }
            # The first token stands for "no answer" in models that know of it.
            masked = [
                sequence != own and token != tokenizer.cls_token_id
                for sequence, token in zip(encoding.sequence_ids, encoding.ids, strict=True)
            ]
            yield _Part(encoding, tensors, masked)

    def _characters(self, encoding: Any, start: int, end: int) -> tuple[int, int]:
        """The place of a span in the context, in whole words."""
        own = 0 if self._context_first else 1
        first, last = encoding.token_to_word(start), encoding.token_to_word(end)
        if first is None or last is None:
            return encoding.offsets[start][0], encoding.offsets[end][1]
        return (
            encoding.word_to_chars(first, own)[0],
            encoding.word_to_chars(last, own)[1],
        )

    @staticmethod
    def _add(found: list[dict[str, Any]], context: str, place: tuple[int, int], score: Any) -> None:
        """Add an answer, or its score to that of the same text found elsewhere."""
        start, end = place
        text = context[start:end]
        for answer in found:
            if answer["answer"].lower() == text.lower():
                answer["score"] = np.float32(answer["score"] + score)
                return
        found.append({"answer": text, "score": np.float32(score), "start": start, "end": end})
