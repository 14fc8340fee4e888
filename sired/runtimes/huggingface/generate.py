"""Text that models write: continuations, answers, summaries, translations."""

import copy
from collections.abc import Generator
from typing import Any

import torch

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.stream import can_stream, written
from sired.runtimes.huggingface.task import TEXTS, Task, TransformersModel, objects, texts_in
from sired.runtimes.huggingface.text import Tokens, find_tokenizer

TEXT_OUT = TensorSpec("", "string", (-1,))
# Where neither the model nor its user says how much to write.
_NEW_TOKENS = 256


def generation_config(made: TransformersModel, defaults: dict[str, Any]) -> Any:
    """How text is generated: by the model's own config, then what was said of it.

    Raises:
        InvalidModel: these settings do not go together.
    """
    config = made.model.generation_config
    said = {**defaults, **made.options.generation}
    stored = config.to_diff_dict()
    if not {"max_new_tokens", "max_length"} & (stored.keys() | said.keys()):
        said["max_new_tokens"] = _NEW_TOKENS
    if "max_new_tokens" in said and "max_length" not in said:
        config.max_length = None
    try:
        config.update(**said)
        config.validate(strict=True)
    except (ValueError, TypeError) as problem:
        said_by = " ".join(str(problem).split())
        raise InvalidModel(f"Text cannot be generated so: {said_by[:300]}") from None
    return config


class Continuation(Task):
    """What a causal language model writes after a prompt."""

    signature = Signature((TEXTS,), (TEXT_OUT,))

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        # What is filled up stands before the prompt: the model goes on from its end.
        self._tokenizer = find_tokenizer(made, padding_side="left")
        self._tokens = Tokens(made, self._tokenizer, cut=made.options.max_input_tokens is not None)
        self._context = getattr(made.config, "max_position_embeddings", None)
        self._config = generation_config(made, {})
        if self._config.pad_token_id is None:
            self._config.pad_token_id = self._tokenizer.pad_token_id
        self._chat = made.options.chat
        if self._chat and not self._tokenizer.chat_template:
            raise InvalidModel(f"{made.directory} has no chat template.", hint="Leave out chat.")

    def run(self, data: Any) -> Any:
        """For each prompt what follows it."""
        prompts = [self._prompt(text) for text in texts_in(data)]
        return objects(self._tokens.run(prompts, self._continue, special=not self._chat))

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def _prompt(self, text: str) -> str:
        if not self._chat:
            return text
        said = [{"role": "user", "content": text}]
        prompt: str = self._tokenizer.apply_chat_template(
            said, tokenize=False, add_generation_prompt=True
        )
        return prompt

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """What follows one prompt, as it is written; of several, all of it."""
        texts = texts_in(data)
        if len(texts) > 1 or not can_stream(self._config):
            yield self.run(data)
            return
        (one,) = self._tokens.passes([self._prompt(texts[0])], add_special_tokens=not self._chat)
        given, length = self._given(one.tensors)
        yield from written(self._model, self._tokenizer, given, self._within(length))

    def _continue(self, tokens: dict[str, torch.Tensor]) -> list[str]:
        given, length = self._given(tokens)
        rows = self._model.generate(**given, generation_config=self._within(length))
        return _texts(self._tokenizer, rows[:, length:])

    def _given(self, tokens: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
        """What the model is given of a prompt, and how many tokens that is."""
        ids = tokens["input_ids"]
        length = ids.shape[1]
        if length == 0:
            raise InvalidInput("The prompt is empty.")
        if self._context and length >= self._context:
            raise InvalidInput(
                f"The prompt has {length} tokens; the model takes less than {self._context}.",
                hint="Shorten it, or have it cut off: --arg max_input_tokens=…",
            )
        return {"input_ids": ids, "attention_mask": tokens["attention_mask"]}, length

    def _within(self, length: int) -> Any:
        """The generation's config, with no more new tokens than the context has room for."""
        config = copy.copy(self._config)
        if self._context and config.max_new_tokens:
            config.max_new_tokens = min(config.max_new_tokens, self._context - length)
        return config


class Rewriting(Task):
    """What an encoder and decoder make of a text: a summary, a translation."""

    signature = Signature((TEXTS,), (TEXT_OUT,))

    def __init__(self, made: TransformersModel, task: str = "") -> None:
        said = (getattr(made.config, "task_specific_params", None) or {}).get(task) or {}
        self._prefix = str(said.get("prefix") or "")
        self._model = made.model
        self._tokenizer = find_tokenizer(made)
        self._tokens = Tokens(made, self._tokenizer)
        defaults = {name: value for name, value in said.items() if name != "prefix"}
        self._config = generation_config(made, defaults)

    def run(self, data: Any) -> Any:
        """What becomes of each text."""
        texts = [self._prefix + text for text in texts_in(data)]
        return objects(self._tokens.run(texts, self._rewrite))

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """What becomes of one text, as it is written; of several, all of it."""
        texts = texts_in(data)
        if len(texts) > 1 or not can_stream(self._config):
            yield self.run(data)
            return
        (one,) = self._tokens.passes([self._prefix + texts[0]])
        yield from written(self._model, self._tokenizer, _inputs(one.tensors), self._config)

    def _rewrite(self, tokens: dict[str, torch.Tensor]) -> list[str]:
        rows = self._model.generate(**_inputs(tokens), generation_config=self._config)
        return _texts(self._tokenizer, rows)


def _inputs(tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


class Summary(Rewriting):
    """A shorter text."""

    def __init__(self, made: TransformersModel) -> None:
        super().__init__(made, "summarization")


def _texts(tokenizer: Any, rows: torch.Tensor) -> list[str]:
    found: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return found
