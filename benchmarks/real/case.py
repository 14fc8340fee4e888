"""What one comparison consists of, and the files it is made on."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Truth = Callable[[Path], Mapping[str, Any]]
"""Writes the input files into a directory, runs the package's own code, and returns its answer."""

VOICE_RATE = 16_000


@dataclass(frozen=True)
class Case:
    """A model that a package ships, and how a user of sire would run it."""

    package: str
    version: str
    name: str
    file: str
    """Relative to where packages are installed."""
    truth: Truth
    compared: str
    """The input and the answer, in words."""
    register: tuple[str, ...] = ()
    """Further words of `sire register`; {site} is where packages are installed."""
    predict: tuple[str, ...] = ()
    """Words of `sire predict`, run in the directory of the input files."""
    tolerance: float = 0.0
    """Largest difference that counts as equal; relative if the largest number is above 1."""


@contextmanager
def recorded_runs() -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Provide a list that gets the inputs and outputs of each pass of ONNX Runtime."""
    import onnxruntime

    runs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    original = onnxruntime.InferenceSession.run

    def run(session: Any, names: Any, feeds: dict[str, Any], options: Any = None) -> list[Any]:
        answers: list[Any] = original(session, names, feeds, options)
        names = names or [output.name for output in session.get_outputs()]
        # Packages go on to compute in these arrays.
        inputs = {name: np.array(value) for name, value in feeds.items()}
        outputs = {name: np.array(value) for name, value in zip(names, answers, strict=True)}
        runs.append((inputs, outputs))
        return answers

    onnxruntime.InferenceSession.run = run
    try:
        yield runs
    finally:
        onnxruntime.InferenceSession.run = original


def voice(seconds: float, rate: int = VOICE_RATE) -> np.ndarray:
    """Return something like a voice, in 16-bit samples: a gliding tone with formants."""
    at = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * at)) / rate
    tones = sum(np.sin(n * phase) / (1 + abs(n - 5) + abs(n - 14) / 3) for n in range(1, 24))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * at) + 0.6, 0, 1)
    noise = np.random.default_rng(0).normal(scale=0.01, size=at.shape)
    sound = tones * syllables + noise
    return np.asarray(np.round(sound / np.abs(sound).max() * 0.7 * 32767), dtype=np.int16)


def write_voice(file: Path, seconds: float, rate: int = VOICE_RATE) -> np.ndarray:
    """Write a voice as a WAV file, and return its samples as floating point from -1 to 1."""
    import soundfile

    samples = voice(seconds, rate)
    soundfile.write(file, samples, rate, subtype="PCM_16")
    return samples.astype(np.float32) / np.float32(32768)


def write_picture(file: Path, size: tuple[int, int], text: str, mode: str = "RGB") -> None:
    """Write a picture of a text before shapes and noise.

    Args:
        file: where to.
        size: width and height.
        text: one line.
        mode: of Pillow.
    """
    from PIL import Image, ImageDraw, ImageFont

    width, height = size
    noise = np.random.default_rng(1).integers(180, 255, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.6, height * 0.1, width * 0.9, height * 0.6), fill=(230, 180, 150))
    draw.rectangle((width * 0.1, height * 0.7, width * 0.4, height * 0.9), fill=(40, 90, 200))
    letters = ImageFont.load_default(size=max(12, min(height * 0.7, width / len(text) * 1.6)))
    draw.text((width * 0.05, height * 0.1), text, fill=(10, 10, 10), font=letters)
    picture.convert(mode).save(file)
