"""Audio: every common format, with its sampling rate, in the axes that the model takes."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import AudioOptions, ImageOptions, Signature, TensorSpec
from sired.codecs import decode, encode

ANYTHING = Signature()
TONE = (np.sin(np.arange(4800) * 440 * 2 * np.pi / 48000) / 2).astype(np.float32)


def takes(*shape: int, dtype: str = "float32", rate: Any = None) -> Signature:
    inputs = [TensorSpec("x", dtype, shape)]
    if rate:
        inputs.append(TensorSpec("sr", rate, ()))
    return Signature(tuple(inputs))


def saved(samples: Any, kind: str = "WAV", subtype: Any = None, rate: int = 48000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def read(
    data: bytes, signature: Signature = ANYTHING, kind: str = content.WAV, rate: int | None = None
) -> Any:
    payload = Payload(kind, (data,))
    return decode(payload, signature, ImageOptions(), audio=AudioOptions(rate))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_24"),
        ("WAVEX", "FLOAT"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_every_format_gives_what_libsndfile_gives_and_its_rate(kind: str, subtype: Any) -> None:
    data = saved(TONE, kind, subtype)
    expected, _ = soundfile.read(io.BytesIO(data))
    found = content.sniff(data[:16])
    assert found in content.SOUNDS
    given = read(data, kind=found)
    assert given.sampling_rate == 48000
    assert np.abs(given - expected).max() < 1e-7
    assert given.dtype == (np.float64 if subtype in {"PCM_32", "DOUBLE"} else np.float32)


def extensible(bits: int, samples: bytes) -> bytes:
    """A file as ffmpeg writes it for 24 bits."""
    kind = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 2000 * bits, bits // 8, bits)
    kind += struct.pack("<HHI", 22, bits, 1) + struct.pack("<H", 1)
    kind += bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind
    body += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_an_extensible_header_is_read() -> None:
    samples = b"".join(n.to_bytes(3, "little", signed=True) for n in (0, 1 << 22, -(1 << 23)))
    assert read(extensible(24, samples)).tolist() == [0, 0.5, -1]


def test_a_declared_rate_is_what_the_model_gets() -> None:
    data = saved(TONE)
    given = read(data, takes(1, -1), rate=16000)
    assert given.shape == (1, 1600)
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(given[0], soxr.resample(samples, 48000, 16000, quality="VHQ"))
    ideal = (np.sin(np.arange(1600) * 440 * 2 * np.pi / 16000) / 2).astype(np.float32)
    assert np.abs(given[0] - ideal)[100:-100].max() < 1e-3
    same = read(saved(TONE, rate=16000), takes(1, -1), rate=16000)
    assert same.shape == (1, 4800)
    assert read(data, rate=16000).sampling_rate == 16000


def test_a_model_whose_rate_is_not_known_is_asked_for_it() -> None:
    with pytest.raises(InvalidInput, match="has 48000 Hz, but it is not known") as caught:
        read(saved(TONE), takes(-1))
    assert "--audio-rate" in caught.value.hint


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_a_model_with_an_input_for_the_rate_gets_it(dtype: str) -> None:
    given = read(saved(TONE), takes(-1, -1, rate=dtype))
    assert given["x"].shape == (1, 4800)
    assert given["sr"] == 48000
    assert given["sr"].dtype == dtype
    resampled = read(saved(TONE), takes(-1, -1, rate=dtype), rate=16000)
    assert resampled["x"].shape == (1, 1600)
    assert resampled["sr"] == 16000


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((-1,), 1, (100,)),
        ((-1,), 2, (100,)),
        ((1, -1), 2, (1, 100)),
        ((-1, -1), 2, (1, 100)),
        ((-1, 1), 2, (100, 1)),
        ((-1, 2), 2, (100, 2)),
        ((2, -1), 2, (2, 100)),
        ((-1, 1, -1), 2, (1, 1, 100)),
        ((1, 2, -1), 2, (1, 2, 100)),
        ((-1, -1, 2), 2, (1, 100, 2)),
        ((-1, -1, -1), 2, (1, 2, 100)),
        ((100,), 1, (100,)),
    ],
)
def test_channels_go_where_the_model_has_an_axis_for_them(
    shape: tuple[int, ...], channels: int, expected: tuple[int, ...]
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (100, channels))
    given = read(saved(samples, subtype="FLOAT"), takes(*shape), rate=48000)
    assert given.shape == expected
    whole = samples.astype(np.float32)
    both = whole if expected[-1] == 2 else whole.T
    wanted = both if 2 in expected else whole.mean(1)
    assert np.allclose(given.reshape(wanted.shape), wanted, atol=1e-7)


def test_channels_that_the_model_lacks_or_misses_are_named() -> None:
    with pytest.raises(InvalidInput, match="has 1 channels; the model takes 2"):
        read(saved(TONE), takes(2, -1), rate=48000)
    with pytest.raises(InvalidInput, match="has 3 channels; the model takes 2"):
        read(saved(np.zeros((9, 3))), takes(2, -1), rate=48000)
    with pytest.raises(InvalidInput, match="which is not a recording"):
        read(saved(TONE), takes(1, 3, 224, 224), rate=48000)


def test_a_model_of_integers_gets_those_of_the_file() -> None:
    data = saved(np.array([1, -2, 32767], np.int16))
    assert read(data, takes(-1, dtype="int16"), rate=48000).tolist() == [1, -2, 32767]
    resampled = read(saved((TONE * 32767).astype(np.int16)), takes(-1, dtype="int16"), rate=16000)
    assert resampled.dtype == np.int16
    assert 15000 < resampled.max() < 17500


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_truncated_file_is_rejected(kind: str) -> None:
    data = saved(np.random.default_rng(0).uniform(-1, 1, 5000), kind)
    with pytest.raises(InvalidInput):
        read(data[: len(data) // 2], kind=content.sniff(data[:16]) or "")


def test_a_length_that_was_not_known_when_it_was_written_is_that_of_the_file() -> None:
    data = saved(np.zeros(100, np.int16))
    at = data.index(b"data")
    unknown = b"\xff\xff\xff\xff"
    piped = data[:4] + unknown + data[8 : at + 4] + unknown + data[at + 8 :]
    assert read(piped).shape == (100,)


def test_a_rate_that_would_let_a_recording_grow_without_limit_is_rejected() -> None:
    data = saved(np.zeros(1000), rate=1)
    with pytest.raises(InvalidInput, match="sampling rate of 1 Hz"):
        read(data, takes(-1), rate=16000)
    payload = Payload(content.WAV, (saved(np.zeros(100_000), rate=200),))
    with pytest.raises(InvalidInput, match="exceeds the limit"):
        decode(payload, takes(-1), ImageOptions(), 10_000_000, AudioOptions(768_000))


@pytest.mark.parametrize(
    "answer",
    [
        {"samples": TONE, "sampling_rate": 16000},
        {"audio": TONE[np.newaxis], "sampling_rate": np.int64(16000)},
        {"samples": np.stack([TONE, -TONE]), "sample_rate": np.array([16000])},
        {"samples": np.stack([TONE, -TONE], 1), "sampling_rate": 16000.0},
        {"samples": (TONE * 1000).astype(np.int16), "sampling_rate": 16000},
        {"samples": TONE.astype(np.float64), "sampling_rate": 16000},
    ],
)
def test_answers_are_recordings_with_the_same_samples(answer: dict[str, Any]) -> None:
    written = encode(answer, content.WAV)
    samples: Any = answer.get("samples", answer.get("audio"))
    kind = samples.dtype.name
    given, rate = soundfile.read(io.BytesIO(written.frames[0]), dtype=kind)
    assert rate == 16000
    wanted = samples[0] if len(samples) == 1 else samples
    assert np.array_equal(given, wanted.T if wanted.shape[0] == 2 else wanted)


def test_what_is_computed_from_a_recording_has_its_rate() -> None:
    given = read(saved(TONE, subtype="FLOAT"))
    written = encode(given * 2, content.WAV).frames[0]
    samples, rate = soundfile.read(io.BytesIO(written), dtype="float32")
    assert rate == 48000
    assert np.array_equal(samples, TONE * 2)
    small = encode(
        {"samples": np.array([0, 128, 255], np.uint8), "sampling_rate": 8000}, content.WAV
    )
    assert soundfile.read(io.BytesIO(small.frames[0]))[0].tolist() == [-1, 0, 127 / 128]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (TONE, "no sampling rate"),
        ({"samples": TONE}, "no sampling rate"),
        ({"samples": TONE, "sampling_rate": 0}, "no sampling rate"),
        ({"samples": "text", "sampling_rate": 8000}, "not a recording"),
        ({"samples": np.zeros((20, 20)), "sampling_rate": 8000}, "not a recording"),
        ("text", "not a recording"),
    ],
)
def test_an_answer_that_is_no_recording_says_why(answer: Any, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        encode(answer, content.WAV)
