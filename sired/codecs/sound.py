"""Audio files: WAV, FLAC, OGG and MP3 as inputs, WAV as answers; read by libsndfile."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from sire.errors import InvalidInput
from sire.protocol.content import WAV, Payload
from sire.spec import MOST_HERTZ, Signature
from sire.tensors import DTYPES, Samples, as_array
from sired.codecs.media import Media
from sired.codecs.recordings import arrange, recorded_input

Array = np.ndarray[Any, Any]
# Encodings whose samples have more bits than float32 represents.
_WIDE = frozenset({"DOUBLE", "PCM_32"})
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
# The dtypes of samples that files have; others are converted to and from them.
_INTEGERS = frozenset({"int16", "int32"})
_RIFF_HEADER, _CHUNK_HEADER = 12, 8
# The length that programs write to a pipe, when they do not know it yet.
_UNKNOWN_LENGTH = 0xFFFFFFFF
# The names of samples and of their rate in outputs.
_SAMPLES = ("samples", "audio", "waveform")
_RATE = ("sampling_rate", "sample_rate", "rate", "sr")
_SUBTYPES = {"int16": "PCM_16", "int32": "PCM_32", "uint8": "PCM_U8", "float64": "DOUBLE"}
_MOST_CHANNELS = 8


def decode(payload: Payload, signature: Signature, media: Media) -> Any:
    """Decode samples as float32 in -1..1, or as float64 if the file has more bits than that.

    Samples for a model of int16 or int32 are integers. ``recordings.arrange`` describes what the
    model gets.

    Raises:
        InvalidInput: the file is damaged or truncated, or the model takes no such recording.
    """
    content = memoryview(payload.frames[0]).cast("B")
    _check_length(content)
    spec = recorded_input(signature)
    with _open(payload) as sound:
        kind = "float64" if sound.subtype in _WIDE else "float32"
        if spec is not None and spec.dtype in _INTEGERS and sound.subtype not in _FLOATS:
            kind = spec.dtype
        stated, rate = sound.frames, sound.samplerate
        try:
            samples = sound.read(dtype=kind, always_2d=True)
        except soundfile.SoundFileError as problem:
            raise _unreadable(payload, problem) from None
    if payload.content_type != WAV and len(samples) < stated < _UNKNOWN_LENGTH:
        raise InvalidInput(
            f"The {_name(payload)} input states {stated} samples but has {len(samples)}."
        )
    return arrange(samples, rate, signature, media)


def decoded_bytes(payload: Payload) -> int:
    """Bytes of the samples as float64, by the file's header."""
    with _open(payload) as sound:
        frames, channels = int(sound.frames), int(sound.channels)
    # Of a pipe's unknown length only what follows it can be read.
    return min(frames, max(payload.size, 1) * 64) * channels * DTYPES["float64"].itemsize


def _open(payload: Payload) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(io.BytesIO(payload.frames[0]))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as problem:
        raise _unreadable(payload, problem) from None


def _unreadable(payload: Payload, problem: Exception) -> InvalidInput:
    reason = str(getattr(problem, "error_string", problem)).rstrip(".") or "it is damaged"
    return InvalidInput(
        f"The input cannot be read as {_name(payload)}: {reason}.",
        hint="WAV, FLAC, OGG and MP3 are read. Convert others: ffmpeg -i FILE OUT.wav",
    )


def _name(payload: Payload) -> str:
    return payload.content_type.rpartition("/")[2].replace("mpeg", "mp3").upper()


def _check_length(content: memoryview) -> None:
    """Ensure that a WAV file has as many bytes of samples as it states.

    Raises:
        InvalidInput: it has fewer.
    """
    if bytes(content[:4]) != b"RIFF" or bytes(content[8:12]) != b"WAVE":
        return
    place = _RIFF_HEADER
    while place + _CHUNK_HEADER <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if bytes(content[place : place + 4]) == b"data":
            there = len(content) - place - _CHUNK_HEADER
            if there < size != _UNKNOWN_LENGTH:
                raise InvalidInput(f"The WAV input states {size} bytes of audio but has {there}.")
            return
        place += _CHUNK_HEADER + size + size % 2
    raise InvalidInput("The input cannot be read as WAV: it has no samples.")


def encode(value: Any, accept: str) -> Payload:
    """Encode samples as WAV, with the bits that they have: float32 stays float32.

    Args:
        value: samples at a known rate: a dict of ``samples`` (or ``audio``) and ``sampling_rate``,
            or what a model computes from its input element by element. Axes are [samples],
            [channels, samples] or [samples, channels], also behind a batch of one.
        accept: WAV.

    Raises:
        InvalidInput: the output is not a recording, or its sampling rate is not known.
    """
    samples, rate = _recording(value)
    array = _two_axes(samples)
    if array.dtype.name not in {*_SUBTYPES, "float32", "float16"}:
        raise _not_a_recording(f"{array.dtype.name} samples")
    buffer = io.BytesIO()
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    subtype = _SUBTYPES.get(array.dtype.name, "FLOAT")
    if array.dtype == np.uint8:  # libsndfile converts to 8 bits, and takes no such samples
        array = (array.astype(np.int16) - 128) << 8
    soundfile.write(buffer, array, rate, format="WAV", subtype=subtype)
    return Payload(accept, (buffer.getvalue(),))


def _recording(value: Any) -> tuple[Array, int]:
    rate: Any = getattr(value, "sampling_rate", 0)
    if isinstance(value, Mapping):
        found = [value[name] for name in _RATE if name in value]
        rate = int(np.asarray(found[0]).item()) if found and np.size(found[0]) == 1 else 0
        value = next((value[name] for name in _SAMPLES if name in value), None)
        rate = rate or getattr(value, "sampling_rate", 0)
    array = np.asarray(value) if isinstance(value, Samples) else as_array(value)
    if array is None and isinstance(value, list):
        array = np.asarray(value, np.float64)
    if array is None or not array.size:
        raise _not_a_recording(f"a {type(value).__name__}")
    if not 0 < rate <= MOST_HERTZ:
        raise InvalidInput(
            "The output has no sampling rate, which WAV needs.",
            hint="Have the model return {'samples': …, 'sampling_rate': …}; or request npy.",
        )
    return array, rate


def _two_axes(array: Array) -> Array:
    """Samples as [samples, channels]."""
    if array.ndim > 1 and len(array) == 1:
        array = array[0]
    if array.ndim == 1:
        return array[:, np.newaxis]
    if array.ndim == 2 and array.shape[0] <= _MOST_CHANNELS < array.shape[1]:
        return array.T
    if array.ndim == 2 and array.shape[1] <= _MOST_CHANNELS < array.shape[0]:
        return array
    raise _not_a_recording(f"an array of shape {list(array.shape)}")


def _not_a_recording(what: str) -> InvalidInput:
    return InvalidInput(
        f"The output is {what}, not a recording that WAV can hold.",
        hint="Request another type: --to npy",
    )
