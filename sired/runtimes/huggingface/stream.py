"""Text while it is being written."""

import threading
from collections.abc import Generator
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer


def can_stream(config: Any) -> bool:
    """Whether text generated so is final word by word: several beams decide at the end."""
    return (config.num_beams or 1) == 1


def written(
    model: Any, tokenizer: Any, given: dict[str, torch.Tensor], config: Any
) -> Generator[str, None, None]:
    """Generate text and yield it in pieces, word by word; closing it stops the model.

    Args:
        model: what generates.
        tokenizer: its own.
        given: its inputs, of one text.
        config: how it generates.

    Raises:
        Exception: whatever the model raises.
    """
    streamer = TextIteratorStreamer(
        tokenizer, skip_prompt=not model.config.is_encoder_decoder, skip_special_tokens=True
    )
    stop = _Stop()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with torch.inference_mode():
                model.generate(
                    **given,
                    generation_config=config,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([stop]),
                )
        except BaseException as problem:  # raised again where it is waited for
            failures.append(problem)
            streamer.end()

    thread = threading.Thread(target=work, name="generate", daemon=True)
    thread.start()
    try:
        yield from filter(None, streamer)
    finally:
        stop.asked = True
        thread.join()
    if failures:
        raise failures[0]


class _Stop(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Stops when it is asked to."""

    asked = False

    def __call__(self, input_ids: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.asked, device=input_ids.device)
