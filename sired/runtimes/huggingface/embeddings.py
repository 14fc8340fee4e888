"""Embeddings of texts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.pooling import pool
from sired.runtimes.huggingface.sentence import EmbeddingPipeline, read_pipeline
from sired.runtimes.huggingface.table import TEXTS
from sired.runtimes.huggingface.task import Task, TransformersModel, texts_in
from sired.runtimes.huggingface.text import Tokens, find_tokenizer


class Embeddings(Task):
    """One vector per text: the last hidden states, pooled as the directory's files state."""

    def __init__(self, made: TransformersModel) -> None:
        self._pipeline = _overridden(read_pipeline(Path(made.root)), made.options)
        self._model = made.model
        self._tokens = Tokens(made, find_tokenizer(made), self._pipeline.longest)
        first = next(made.model.parameters())
        self.layers = [layer.to(made.device, first.dtype) for layer in self._pipeline.dense]
        width = made.config.get_text_config().hidden_size * len(self._pipeline.poolings)
        if self.layers:
            width = self._pipeline.dense[-1][0].out_features
        self.signature = Signature((TEXTS,), (TensorSpec("", "float32", (-1, int(width))),))

    def run(self, data: Any) -> Any:
        """float32[texts, width]."""
        texts = [self._pipeline.prompt + text for text in texts_in(data)]
        if self._pipeline.lower:
            texts = [text.lower() for text in texts]
        return np.stack(self._tokens.run(texts, self._embed))

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def _embed(self, tokens: dict[str, torch.Tensor]) -> list[Any]:
        states = self._model(**tokens).last_hidden_state
        vectors = pool(states, tokens["attention_mask"], self._pipeline.poolings)
        for layer in self.layers:
            vectors = layer(vectors)
        if self._pipeline.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return list(vectors.float().cpu().numpy())


def _overridden(pipeline: EmbeddingPipeline, options: TransformersOptions) -> EmbeddingPipeline:
    """The pipeline with the model's arguments in place of what its files state."""
    if options.pooling is not None:
        pipeline = replace(pipeline, poolings=(options.pooling,))
    if options.normalize is not None:
        pipeline = replace(pipeline, normalize=options.normalize)
    return pipeline
