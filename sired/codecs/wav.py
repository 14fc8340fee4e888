"""Sound in WAV files."""

import io
import wave
from typing import Any

import numpy as np

from sired.errors import InvalidInput
from sired.protocol.content import Payload
from sired.spec import ImageOptions, Signature

_THREE_BYTES = 3


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read PCM samples as float32 in -1..1: [samples], or [samples, channels] if several."""
    try:
        with wave.open(io.BytesIO(payload.frames[0])) as sound:
            channels, width = sound.getnchannels(), sound.getsampwidth()
            content = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, RuntimeError) as problem:
        raise InvalidInput(f"The input cannot be read as WAV: {problem}.") from None
    samples = _samples(content[: len(content) // (width * channels) * width * channels], width)
    return samples.reshape(-1, channels) if channels > 1 else samples


def _samples(content: bytes, width: int) -> "np.ndarray[Any, Any]":
    """Samples of 1 (unsigned), 2, 3 or 4 bytes as float32 of the full scale."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if width == _THREE_BYTES:
        padded = np.zeros((len(content) // width, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, width)
        content, width = padded.tobytes(), 4
    integers = np.frombuffer(content, f"<i{width}")
    return (integers / float(1 << (8 * width - 1))).astype(np.float32)
