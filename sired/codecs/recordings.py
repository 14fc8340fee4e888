"""Samples of a recording, laid out as a model takes them, at its sampling rate."""

from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sire.spec import ANY_SHAPE, Signature, TensorSpec
from sire.tensors import DTYPES, RATE_NAMES, samples_at, unknown_rate
from sired.codecs.check import describe
from sired.codecs.media import Media
from sired.codecs.sizes import check_decoded

Array = np.ndarray[Any, Any]
# More channels than recordings have; a longer axis has samples.
_MOST_CHANNELS = 8
# Hz; a recording with less is damaged, and would grow without limit.
_LEAST_RATE = 100


def is_rate(spec: TensorSpec) -> bool:
    """Whether an input is the sampling rate of a recording, by its name and shape."""
    scalar = spec.shape == ANY_SHAPE or all(axis in {-1, 1} for axis in spec.shape)
    numeric = spec.dtype in DTYPES and DTYPES[spec.dtype].kind in "iuf"
    return spec.name.lower() in RATE_NAMES and scalar and numeric


def recorded_input(signature: Signature) -> TensorSpec | None:
    """The input that a recording is for; None if it is not known."""
    others = [spec for spec in signature.required() if not is_rate(spec)]
    return others[0] if len(others) == 1 else None


def arrange(samples: Array, rate: int, signature: Signature, media: Media) -> Any:
    """A recording as the model takes it.

    1. A declared sampling rate is what the model gets. Otherwise the rate goes with the samples: to
       an input for it, or as their ``sampling_rate`` to a model without a signature. A model that
       states its inputs, but no rate, is asked for.
    2. Channels are averaged for a model that takes one, which is one whose input has no axis for
       them.

    Args:
        samples: [samples, channels].
        rate: in Hz.
        signature: of the model.
        media: with the declared rate.

    Raises:
        InvalidInput: the rate or the channels do not fit the model.
    """
    spec = recorded_input(signature)
    rates = [one for one in signature.inputs if is_rate(one)]
    wanted = media.audio.rate
    if wanted is not None and wanted != rate:
        samples, rate = _resampled(samples, rate, wanted, media.largest), wanted
    if spec is None:
        mono = samples[:, 0] if samples.shape[1] == 1 else samples
        return samples_at(rate, mono, wanted=wanted is not None)
    if wanted is None and not rates:
        raise unknown_rate(rate)
    shaped = _laid_out(samples, spec)
    if not rates:
        return shaped
    given = np.asarray(rate, DTYPES[rates[0].dtype])
    return {spec.name: shaped, rates[0].name: given}


def _resampled(samples: Array, rate: int, wanted: int, largest: int) -> Array:
    """Resample with soxr's highest quality; [samples, channels] stays that."""
    import soxr  # noqa: PLC0415 (only recordings of other rates need it)

    if rate < _LEAST_RATE:
        raise InvalidInput(f"The recording states a sampling rate of {rate} Hz.")
    check_decoded(samples.nbytes * wanted // rate, largest)
    floats = samples if samples.dtype.kind == "f" else samples.astype(np.float64)
    resampled: Array = soxr.resample(floats, rate, wanted, quality="VHQ")
    if samples.dtype.kind == "f":
        return resampled
    limits = np.iinfo(samples.dtype)
    return np.clip(np.rint(resampled), limits.min, limits.max).astype(samples.dtype)


def _laid_out(samples: Array, spec: TensorSpec) -> Array:
    """[samples, channels] in the axes of the model's input."""
    count = samples.shape[1]
    match spec.shape:
        case (_,) | (-2,):
            return _mono(samples)
        case (_, channels) if 0 < channels <= _MOST_CHANNELS:
            return _with_channels(samples, channels, spec)
        case (1 | -1, _):
            return _mono(samples)[np.newaxis]
        case (channels, _) if channels <= _MOST_CHANNELS:
            return _with_channels(samples, channels, spec).T
        case (1 | -1, _, channels) if 0 < channels <= _MOST_CHANNELS:
            return _with_channels(samples, channels, spec)[np.newaxis]
        case (1 | -1, channels, _) if channels <= _MOST_CHANNELS:
            wanted = count if channels < 0 else channels
            return _with_channels(samples, wanted, spec).T[np.newaxis]
    raise InvalidInput(
        f"The model takes {describe(spec.dtype, spec.shape)}, which is not a recording.",
        hint="Send json or npy, or declare the input's shape: --input 'float32[-1]'",
    )


def _with_channels(samples: Array, channels: int, spec: TensorSpec) -> Array:
    if channels == 1:
        return _mono(samples)[:, np.newaxis]
    if samples.shape[1] != channels:
        raise InvalidInput(
            f"The recording has {samples.shape[1]} channels; the model takes {channels}: "
            f"{describe(spec.dtype, spec.shape)}."
        )
    return samples


def _mono(samples: Array) -> Array:
    """The average of the channels."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    average: Array = samples.mean(1).astype(samples.dtype)
    return average
