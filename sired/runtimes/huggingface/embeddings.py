"""Embeddings of texts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.pooling import pool
from sired.runtimes.huggingface.sentence import Recipe, read_recipe
from sired.runtimes.huggingface.task import TEXTS, Task, TransformersModel, texts_in
from sired.runtimes.huggingface.text import Tokens, find_tokenizer


class Embeddings(Task):
    """One vector per text: the model's last states, pooled as sentence-transformers' files say."""

    def __init__(self, made: TransformersModel) -> None:
        self._recipe = _changed(read_recipe(Path(made.root)), made.options)
        self._model = made.model
        self._tokens = Tokens(made, find_tokenizer(made), self._recipe.longest)
        first = next(made.model.parameters())
        self.layers = [layer.to(made.device, first.dtype) for layer in self._recipe.dense]
        width = made.config.get_text_config().hidden_size * len(self._recipe.poolings)
        if self.layers:
            width = self._recipe.dense[-1][0].out_features
        self.signature = Signature((TEXTS,), (TensorSpec("", "float32", (-1, int(width))),))

    def run(self, data: Any) -> Any:
        """float32[texts, width]."""
        texts = [self._recipe.prompt + text for text in texts_in(data)]
        if self._recipe.lower:
            texts = [text.lower() for text in texts]
        return np.stack(self._tokens.run(texts, self._embed))

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def _embed(self, tokens: dict[str, torch.Tensor]) -> list[Any]:
        states = self._model(**tokens).last_hidden_state
        vectors = pool(states, tokens["attention_mask"], self._recipe.poolings)
        for layer in self.layers:
            vectors = layer(vectors)
        if self._recipe.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return list(vectors.float().cpu().numpy())


def _changed(recipe: Recipe, options: TransformersOptions) -> Recipe:
    """The recipe with what was said of it when the model was registered."""
    if options.pooling is not None:
        recipe = replace(recipe, poolings=(options.pooling,))
    if options.normalize is not None:
        recipe = replace(recipe, normalize=options.normalize)
    return recipe
