"""Recordings: one axis of samples, at the sampling rate that a model takes."""

from typing import Any

import numpy as np

from sire.errors import InvalidInput


class Recordings:
    """Reads the recordings of requests.

    Attributes:
        rate: the sampling rate that the model takes, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def samples_of(self, data: Any) -> Any:
        """The samples of a request, float32[samples] at ``rate``.

        Raises:
            InvalidInput: it has no samples in one axis, or no sampling rate.
        """
        if not isinstance(data, dict) or data.keys() != {"samples", "sampling_rate"}:
            raise InvalidInput("The model takes samples and their sampling_rate.")
        samples, rate = np.asarray(data["samples"], np.float32), int(data["sampling_rate"])
        if samples.ndim != 1 or not samples.size or rate < 1:
            raise InvalidInput(
                f"The model takes one axis of samples; got {list(samples.shape)} at {rate} Hz."
            )
        return resample(samples, rate, self.rate)

    def silence(self) -> dict[str, Any]:
        """A request with one second of silence."""
        return {"samples": np.zeros(self.rate, np.float32), "sampling_rate": self.rate}


def resample(samples: Any, rate: int, wanted: int) -> Any:
    """Resample with soxr's highest quality, as recordings for other runtimes are.

    Args:
        samples: float32[n].
        rate: their sampling rate in Hz.
        wanted: the new sampling rate in Hz.
    """
    if rate == wanted:
        return samples
    import soxr  # noqa: PLC0415 (only recordings of other rates need it)

    return soxr.resample(samples, rate, wanted, quality="VHQ")
