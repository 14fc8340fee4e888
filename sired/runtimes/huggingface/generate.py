"""Tasks that generate text: continuations, answers, summaries, translations."""

import copy
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Any

import jinja2
import torch

from sire.errors import InvalidInput, InvalidModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.architectures import translations_in
from sired.runtimes.huggingface.prompts import Prompt, prompts_in, until_stop
from sired.runtimes.huggingface.stream import can_stream, generate_stream
from sired.runtimes.huggingface.table import ITEMS, TEXTS
from sired.runtimes.huggingface.task import Task, TransformersModel, object_array, texts_in
from sired.runtimes.huggingface.text import Tokens, find_tokenizer

TEXT_OUT = TensorSpec("", "string", (-1,))
# The limit if neither the model nor the user sets one.
_NEW_TOKENS = 256
# Enough to see whether rows of one pass influence each other.
TRIAL_TOKENS = 4


def generation_config(made: TransformersModel, defaults: dict[str, Any]) -> Any:
    """The model's own generation config, updated by ``defaults`` and then by its arguments.

    Raises:
        InvalidModel: these settings contradict each other.
    """
    config = made.model.generation_config
    given = {**defaults, **made.options.generation}
    stored = config.to_diff_dict()
    if not {"max_new_tokens", "max_length"} & (stored.keys() | given.keys()):
        given["max_new_tokens"] = _NEW_TOKENS
    if "max_new_tokens" in given and "max_length" not in given:
        config.max_length = None
    try:
        config.update(**given)
        config.validate(strict=True)
    except (ValueError, TypeError) as problem:
        reason = " ".join(str(problem).split())
        raise InvalidModel(f"The generation settings are not valid: {reason[:300]}") from None
    return config


def limited(config: Any, most: int | None, prompt: int = 0) -> Any:
    """A generation config with a lower limit of new tokens, and without sampling.

    Args:
        config: a generation config.
        most: maximum number of new tokens; None to change nothing.
        prompt: number of tokens that precede them in the same sequence.
    """
    if most is None:
        return config
    config = copy.copy(config)
    config.do_sample = False
    config.min_new_tokens = config.min_length = 0
    if config.max_new_tokens:
        config.max_new_tokens = min(most, config.max_new_tokens)
    else:
        config.max_length = min(most + prompt, config.max_length)
    return config


def split_rows(tokens: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The rows of a pass as passes of their own, without padding."""
    masks = tokens["attention_mask"].bool()
    return [
        {name: rows[place : place + 1, mask] for name, rows in tokens.items()}
        for place, mask in enumerate(masks)
    ]


class TextGeneration(Task):
    """Continues a prompt with a causal language model."""

    signature = Signature((ITEMS,), (TEXT_OUT,))

    def __init__(self, made: TransformersModel) -> None:
        self._model = made.model
        # Padding goes before the prompt, because generation continues from its end.
        self._tokenizer = find_tokenizer(made, padding_side="left")
        self._tokens = Tokens(made, self._tokenizer, cut=made.options.max_input_tokens is not None)
        self._context = getattr(made.config, "max_position_embeddings", None)
        self._config = generation_config(made, {})
        if self._config.pad_token_id is None:
            self._config.pad_token_id = self._tokenizer.pad_token_id
        self._chat = made.options.chat
        if self._chat and not self._tokenizer.chat_template:
            raise InvalidModel(
                f"{made.directory} has no chat template.", hint="Register it without chat."
            )
        self._tokens.prove(partial(self._continue, most=TRIAL_TOKENS))

    def run(self, data: Any) -> Any:
        """The continuations of prompts, object[prompts]; texts, and objects for objects."""
        items = prompts_in(data)
        texts = [self._prompt(item) for item in items if isinstance(item, str)]
        special = not self._chat
        answers = iter(self._tokens.run(texts, self._continue, special=special) if texts else ())
        return object_array(
            next(answers) if isinstance(item, str) else self._completed(item) for item in items
        )

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def _prompt(self, text: str) -> str:
        if not self._chat:
            return text
        messages = [{"role": "user", "content": text}]
        prompt: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return prompt

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """The continuation of one prompt in parts; of several prompts, all at once."""
        first, *others = prompts_in(data)
        if others or (isinstance(first, str) and not can_stream(self._config)):
            yield self.run(data)
            return
        if isinstance(first, Prompt):
            end: dict[str, Any] = {}
            for part in self._generated(first, end):
                yield {"text": part}
            yield {"text": "", **end}
            return
        (one,) = self._tokens.passes([self._prompt(first)], add_special_tokens=not self._chat)
        given, length = self._given(one.tensors)
        yield from generate_stream(self._model, self._tokenizer, given, self._within(length))

    def _completed(self, prompt: Prompt) -> dict[str, Any]:
        """The answer to one prompt with options of its own."""
        end: dict[str, Any] = {}
        text = "".join(self._generated(prompt, end))
        return {"text": text, **end}

    def _generated(self, prompt: Prompt, end: dict[str, Any]) -> Generator[str, None, None]:
        """The text for one prompt in parts; ``end`` then has why it ended, and how many tokens."""
        text, special = self._text_of(prompt)
        (one,) = self._tokens.passes([text], add_special_tokens=special)
        given, length = self._given(one.tensors)
        config = prompt.applied_to(self._within(length))
        rows: list[torch.Tensor] = []
        with closing(self._parts(given, config, prompt.seed, rows)) as parts:
            stopped = yield from until_stop(parts, prompt.stop)
        written = rows[0][0, length:]
        ends = torch.tensor(config.eos_token_id if config.eos_token_id is not None else [])
        complete = bool(len(written)) and bool(torch.isin(written[-1].cpu(), ends))
        end["finish_reason"] = "stop" if stopped or complete else "length"
        end["prompt_tokens"], end["completion_tokens"] = length, len(written)

    def _parts(
        self, given: dict[str, torch.Tensor], config: Any, seed: int | None, rows: list[Any]
    ) -> Generator[str, None, None]:
        """Generated text in parts, if the model can stream; ``rows`` then has all tokens."""
        if can_stream(config):
            model, tokenizer = self._model, self._tokenizer
            yield from generate_stream(
                model, tokenizer, given, config, seed=seed, finished=rows.append
            )
            return
        rows.append(self._model.generate(**given, generation_config=config))
        yield from _texts(self._tokenizer, rows[0][:, given["input_ids"].shape[1] :])

    def _text_of(self, prompt: Prompt) -> tuple[str, bool]:
        """The text that a prompt stands for, and whether special tokens are to be added to it."""
        if prompt.text is not None:
            return self._prompt(prompt.text), not self._chat
        if not self._tokenizer.chat_template:
            raise InvalidInput("The model has no chat template.", hint="Send text instead.")
        messages = [message.for_template() for message in prompt.messages]
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except jinja2.TemplateError as problem:
            raise InvalidInput(f"The chat template rejects the messages: {problem}.") from None
        return text, False

    def _continue(self, tokens: dict[str, torch.Tensor], most: int | None = None) -> list[str]:
        given, length = self._given(tokens)
        if len(given["input_ids"]) > 1 and not self._leaves_room(length):
            rows = split_rows(given)
            return [text for row in rows for text in self._continue(row, most)]
        config = limited(self._within(length), most, length)
        rows = self._model.generate(**given, generation_config=config)
        return _texts(self._tokenizer, rows[:, length:])

    def _leaves_room(self, length: int) -> bool:
        """Whether a prompt of this length does not limit the number of new tokens.

        If it does, a prompt that is padded to the length of another one would get fewer of them.
        """
        most = self._config.max_new_tokens
        return bool(most) and (not self._context or length + most <= self._context)

    def _given(self, tokens: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
        """The model's inputs for a prompt, and the number of its tokens."""
        ids = tokens["input_ids"]
        length = ids.shape[1]
        if length == 0:
            raise InvalidInput("The prompt is empty.")
        if self._context and length >= self._context:
            raise InvalidInput(
                f"The prompt has {length} tokens; the model takes fewer than {self._context}.",
                hint="Shorten it, or have it truncated: --arg max_input_tokens=…",
            )
        return {"input_ids": ids, "attention_mask": tokens["attention_mask"]}, length

    def _within(self, length: int) -> Any:
        """The generation config, with new tokens limited to what the context has room for."""
        config = copy.copy(self._config)
        if self._context and config.max_new_tokens:
            config.max_new_tokens = min(config.max_new_tokens, self._context - length)
        return config


class Text2TextGeneration(Task):
    """Transforms text with an encoder-decoder model, such as into a translation."""

    signature = Signature((TEXTS,), (TEXT_OUT,))

    def __init__(self, made: TransformersModel, task: str = "", **languages: str) -> None:
        specific = specific_parameters(made.config).get(task) or {}
        self._prefix = str(specific.get("prefix") or "")
        self._model = made.model
        self._tokenizer = find_tokenizer(made, **languages)
        self._tokens = Tokens(made, self._tokenizer)
        defaults = {name: value for name, value in specific.items() if name != "prefix"}
        if "tgt_lang" in languages:
            defaults["forced_bos_token_id"] = _language(self._tokenizer, languages["tgt_lang"])
        self._config = generation_config(made, defaults)
        self._tokens.prove(partial(self._generate, most=TRIAL_TOKENS))

    def run(self, data: Any) -> Any:
        """The transformed texts, object[texts]."""
        texts = [self._prefix + text for text in texts_in(data)]
        return object_array(self._tokens.run(texts, self._generate))

    def sample(self) -> Any:
        """One word."""
        return "warm"

    def stream(self, data: Any) -> Generator[Any, None, None]:
        """The transformed text in parts; of several texts, all at once."""
        texts = texts_in(data)
        if len(texts) > 1 or not can_stream(self._config):
            yield self.run(data)
            return
        (one,) = self._tokens.passes([self._prefix + texts[0]])
        yield from generate_stream(self._model, self._tokenizer, _inputs(one.tensors), self._config)

    def _generate(self, tokens: dict[str, torch.Tensor], most: int | None = None) -> list[str]:
        config = limited(self._config, most)
        rows = self._model.generate(**_inputs(tokens), generation_config=config)
        return _texts(self._tokenizer, rows)


def _inputs(tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


class Summarization(Text2TextGeneration):
    """Summarizes text, by the parameters that the model's config has for that task."""

    def __init__(self, made: TransformersModel) -> None:
        super().__init__(made, "summarization")


def _texts(tokenizer: Any, rows: torch.Tensor) -> list[str]:
    found: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return found


class Translation(Text2TextGeneration):
    """Translates text, between the languages that the config or the arguments state."""

    def __init__(self, made: TransformersModel) -> None:
        names = translations_in(specific_parameters(made.config))
        wanted = made.options.task if made.options.task in names else "".join(names)
        given = {"src_lang": made.options.src_lang, "tgt_lang": made.options.tgt_lang}
        languages = {name: value for name, value in given.items() if value}
        super().__init__(made, wanted, **languages)


def specific_parameters(config: Any) -> dict[str, Any]:
    """The parameters that a config has for tasks, by their names."""
    return getattr(config, "task_specific_params", None) or {}


def _language(tokenizer: Any, code: str) -> int:
    """The token that a translation into a language begins with.

    Raises:
        InvalidModel: the tokenizer does not have it.
    """
    find = getattr(tokenizer, "get_lang_id", tokenizer.convert_tokens_to_ids)
    try:
        token = find(code)
    except KeyError:
        token = None
    if token is None or token == tokenizer.unk_token_id:
        raise InvalidModel(f"The tokenizer has no language {code!r} (tgt_lang).")
    return int(token)
