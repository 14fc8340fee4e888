"""Hugging Face directories: a transformers model with its tokenizer or processor.

transformers takes seconds to import and a hundred megabytes, so that is done when a worker asks for
the runtime, and not when the zygote imports this package for everybody.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "HuggingFaceRuntime":
        raise AttributeError(name)
    from sired.runtimes.huggingface.runtime import HuggingFaceRuntime  # noqa: PLC0415

    return HuggingFaceRuntime
