"""Streams text while it is being generated."""

import threading
from collections.abc import Callable, Generator
from queue import Empty
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from sired.runtimes.wanted import check_wanted

_SECONDS_BETWEEN_CHECKS = 0.1


def can_stream(config: Any) -> bool:
    """Whether generated words are final at once; a beam search decides only at the end."""
    return (config.num_beams or 1) == 1


def generate_stream(
    model: Any,
    tokenizer: Any,
    given: dict[str, torch.Tensor],
    config: Any,
    *,
    seed: int | None = None,
    finished: Callable[[torch.Tensor], None] | None = None,
) -> Generator[str, None, None]:
    """Generate text and yield it word by word; closing the generator stops the model.

    It also stops if the request is not wanted any more, however long its next word takes.

    Args:
        model: a transformers model.
        tokenizer: of the model.
        given: the model's inputs for one text.
        config: the generation config.
        seed: of what is drawn; None to go on drawing.
        finished: gets the tokens, [1, tokens], once the generator has ended.

    Raises:
        Cancelled: the request is not wanted any more.
        Exception: any error of the model.
    """
    streamer = TextIteratorStreamer(
        tokenizer,
        skip_prompt=not model.config.is_encoder_decoder,
        timeout=_SECONDS_BETWEEN_CHECKS,
        skip_special_tokens=True,
    )
    stop = _Stop()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with torch.inference_mode(), torch.random.fork_rng(enabled=seed is not None):
                if seed is not None:
                    torch.manual_seed(seed)
                rows = model.generate(
                    **given,
                    generation_config=config,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([stop]),
                )
            if finished is not None:
                finished(rows)
        except BaseException as problem:  # raised again in the calling thread
            failures.append(problem)
            streamer.end()

    thread = threading.Thread(target=work, name="generate", daemon=True)
    thread.start()
    try:
        yield from _parts(streamer)
    finally:
        stop.requested = True
        thread.join()
    if failures:
        raise failures[0]


def _parts(streamer: Any) -> Generator[str, None, None]:
    """The text of a streamer in parts.

    Raises:
        Cancelled: the request is not wanted any more.
    """
    while True:
        try:
            part = next(streamer)
        except StopIteration:
            return
        except Empty:
            part = ""
        if part:
            yield part
        else:  # a token that completes no word, or none yet
            check_wanted()


class _Stop(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Stops generation on request."""

    requested = False

    def __call__(self, input_ids: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.requested, device=input_ids.device)
