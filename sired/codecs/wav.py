"""Audio in WAV files."""

import io
import wave
from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature

_THREE_BYTES, _FOUR_BYTES = 3, 4
# The length that programs write to a pipe, when they do not know it yet.
_UNKNOWN_LENGTH = 0xFFFFFFFF


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Decode PCM samples as float32 in -1..1: [samples], or [samples, channels] if not mono.

    A model that takes ``samples`` and ``sampling_rate`` gets both; the rate is int64, in Hz.
    Channels are averaged if its samples have one axis.

    Raises:
        InvalidInput: the file is damaged, truncated, or not PCM of 8, 16, 24 or 32 bits.
    """
    try:
        with wave.open(io.BytesIO(payload.frames[0])) as sound:
            channels, width, frames = sound.getnchannels(), sound.getsampwidth(), sound.getnframes()
            rate = sound.getframerate()
            content = sound.readframes(frames)
    except (wave.Error, EOFError, RuntimeError) as problem:
        reason = str(problem) or "it is truncated"
        raise InvalidInput(
            f"The input cannot be read as WAV: {reason}.",
            hint="Convert it to PCM of 8, 16, 24 or 32 bits: ffmpeg -i FILE -c:a pcm_s16le OUT.wav",
        ) from None
    if width > _FOUR_BYTES:
        raise InvalidInput(f"The WAV input has samples of {8 * width} bits; the maximum is 32.")
    size = width * channels
    if len(content) < frames * size and frames != _UNKNOWN_LENGTH // size:
        raise InvalidInput(
            f"The WAV input states {frames * size} bytes of audio but has {len(content)}."
        )
    samples = _samples(content[: len(content) // size * size], width)
    samples = samples.reshape(-1, channels) if channels > 1 else samples
    axes = {spec.name: len(spec.shape) for spec in signature.inputs}
    if axes.keys() != {"samples", "sampling_rate"}:
        return samples
    mixed = samples.mean(1) if samples.ndim > axes["samples"] else samples
    return {"samples": mixed, "sampling_rate": np.int64(rate)}


def _samples(content: bytes, width: int) -> "np.ndarray[Any, Any]":
    """Samples of 1 (unsigned), 2, 3 or 4 bytes as float32 in -1..1."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if width == _THREE_BYTES:
        padded = np.zeros((len(content) // width, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, width)
        content, width = padded.tobytes(), 4
    integers = np.frombuffer(content, f"<i{width}")
    return (integers / float(1 << (8 * width - 1))).astype(np.float32)
