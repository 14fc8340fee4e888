"""Speech recognition."""

from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sired.runtimes.huggingface.generate import generation_config
from sired.runtimes.huggingface.loading import load_beside
from sired.runtimes.huggingface.task import Task, TransformersModel

_SAMPLES = TensorSpec("samples", "float32", (-1,))
_RATE = TensorSpec("sampling_rate", "int64", ())


class _Speech(Task):
    """Transcribes one recording at a time, resampled to the model's sampling rate."""

    signature = Signature((_SAMPLES, _RATE), (TensorSpec("", "string", ()),))

    def __init__(self, made: TransformersModel) -> None:
        self._model, self._device = made.model, made.device
        self._dtype = next(made.model.parameters()).dtype
        self._processor = load_beside(AutoProcessor, made)
        self._rate = int(self._processor.feature_extractor.sampling_rate)

    def run(self, data: Any) -> Any:
        """The transcript of ``samples``, float32[samples] in -1..1, at ``sampling_rate`` in Hz."""
        if not isinstance(data, dict) or data.keys() != {"samples", "sampling_rate"}:
            raise InvalidInput("The model takes samples and their sampling_rate.")
        samples, rate = np.asarray(data["samples"], np.float32), int(data["sampling_rate"])
        if samples.ndim != 1 or not samples.size or rate < 1:
            raise InvalidInput(
                f"The model takes one axis of samples; got {list(samples.shape)} at {rate} Hz."
            )
        return self._transcribe(resample(samples, rate, self._rate))

    def sample(self) -> Any:
        """One second of silence."""
        return {"samples": np.zeros(self._rate, np.float32), "sampling_rate": self._rate}

    def _transcribe(self, samples: Any) -> str:
        raise NotImplementedError


class Seq2SeqSpeechRecognition(_Speech):
    """Models like Whisper, which generate the transcript token by token."""

    def __init__(self, made: TransformersModel) -> None:
        super().__init__(made)
        self._config = generation_config(made, {})

    def _transcribe(self, samples: Any) -> str:
        # Recordings longer than the window (30 s) are processed in windows, by timestamps.
        window = getattr(self._processor.feature_extractor, "n_samples", len(samples))
        long = len(samples) > window
        if long and getattr(self._config, "no_timestamps_token_id", None) is None:
            raise InvalidInput(
                f"The recording has {len(samples) / self._rate:.1f} s; this model, which has no "
                f"timestamps, takes up to {window / self._rate:g} s."
            )
        features = self._processor(
            samples,
            sampling_rate=self._rate,
            return_tensors="pt",
            return_attention_mask=True,
            **({"truncation": False, "padding": "longest"} if long else {}),
        ).to(self._device, self._dtype)
        tokens = self._model.generate(
            **features,
            generation_config=self._config,
            **({"return_timestamps": True} if long else {}),
        )
        return str(self._processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()


class CtcSpeechRecognition(_Speech):
    """Models like wav2vec 2.0, which emit a letter for each time step (CTC)."""

    def _transcribe(self, samples: Any) -> str:
        features = self._processor(samples, sampling_rate=self._rate, return_tensors="pt")
        logits: torch.Tensor = self._model(**features.to(self._device, self._dtype)).logits
        return str(self._processor.batch_decode(logits.argmax(-1))[0])


def resample(samples: Any, rate: int, wanted: int) -> Any:
    """Resample float32[n] to float32[n * wanted / rate], without aliasing.

    The spectrum of the whole recording is truncated or zero-padded, as in
    ``scipy.signal.resample``.

    Args:
        samples: float32[n].
        rate: their sampling rate in Hz.
        wanted: the new sampling rate in Hz.
    """
    if rate == wanted:
        return samples
    length = max(1, round(len(samples) * wanted / rate))
    spectrum = np.fft.rfft(samples)[: length // 2 + 1]
    return (np.fft.irfft(spectrum, length) * (length / len(samples))).astype(np.float32)
