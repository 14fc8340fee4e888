"""Files that people have, from the command line to the model and back."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from PIL import Image

from tests.contract.tiny_graphs import write_graph
from tests.home import Home

CODE = """
import numpy as np

class Recorder:
    def load(self, path=None): pass
    def predict(self, samples, sampling_rate):
        return {"rate": sampling_rate, "length": len(samples)}

class Louder:
    def load(self, path=None): pass
    def predict(self, data): return data * 2

class Rated:
    def load(self, path=None): pass
    def predict(self, x, sr=16000): return sr

class Painter:
    def load(self, path=None): pass
    def predict(self, data): return np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

class Archive:
    def load(self, path=None): pass
    def predict(self, data): return data[::-1]
"""


class Averages(torch.nn.Module):
    """Answers the mean of a recording, and its rate."""

    def forward(self, x: torch.Tensor, sr: int) -> tuple[torch.Tensor, int]:
        return x.mean(), sr


class AveragesOfTensors(torch.nn.Module):
    """Answers the mean of a recording, and its rate, which is a tensor."""

    def forward(self, x: torch.Tensor, sr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(), sr


class Average(torch.nn.Module):
    """Answers the mean of a recording."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean()


@pytest.fixture
def classes(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "files.py"
    file.write_text(CODE)
    for name in ("Recorder", "Louder", "Rated", "Painter", "Archive"):
        home.register(name.lower(), file, "--runtime", "python", "--class", f"{file}:{name}")


def test_pictures_and_bytes_reach_a_class(
    home: Home, told: Callable[..., Any], tmp_path: Path
) -> None:
    for suffix in ("webp", "bmp", "tiff", "gif", "png", "jpg"):
        Image.new("RGB", (4, 3), "red").save(tmp_path / f"p.{suffix}")
        assert told("-i", tmp_path / f"p.{suffix}")["shape"] == [1, 3, 3, 4], suffix
    pdf = b"%PDF-1.4\n\xf0\x00\x01"
    (tmp_path / "a.pdf").write_bytes(pdf)
    assert told("-i", tmp_path / "a.pdf")["repr"] == repr(pdf)
    picture = (tmp_path / "p.gif").read_bytes()
    given = told("-i", tmp_path / "p.gif", "--from", "bytes")
    assert given["type"] == "bytes"
    assert given["repr"] == repr(picture)[:200]


def test_stdin_is_what_it_looks_like(told: Callable[..., Any]) -> None:
    for content, expected in (
        (b"3.5\n", "array(3.5)"),
        (b"true", "array(True)"),
        (b"hello there\n", "'hello there'"),
        (b"12 monkeys\n", "'12 monkeys'"),
        (b'{"a": [1]}', "{'a': array([1])}"),
    ):
        assert told("-i", "-", stdin=content)["repr"] == expected
    assert told("-i", "-", "--from", "text", stdin=b"3.5\n")["repr"] == "'3.5'"


def test_recordings_come_with_their_rate(home: Home, classes: Any, tmp_path: Path) -> None:
    tone = np.sin(np.arange(4800) / 10).astype(np.float32)
    for suffix in ("wav", "flac", "ogg"):
        soundfile.write(tmp_path / f"t.{suffix}", tone, 48000)
        answer = json.loads(home.sire("predict", "recorder", "-i", tmp_path / f"t.{suffix}").stdout)
        assert answer == {"rate": 48000, "length": 4800}
    home.sire("predict", "louder", "-i", tmp_path / "t.wav", "-o", tmp_path / "loud.wav")
    given, _ = soundfile.read(tmp_path / "t.wav", dtype="float32")
    loud, rate = soundfile.read(tmp_path / "loud.wav", dtype="float32")
    assert rate == 48000
    assert np.array_equal(loud, 2 * given)


def test_programs_and_classes_get_the_rate_by_any_of_its_names(
    home: Home, classes: Any, tmp_path: Path
) -> None:
    tone = np.sin(np.arange(4800) / 10).astype(np.float32)
    soundfile.write(tmp_path / "t.wav", tone, 48000, subtype="FLOAT")
    mean = torch.from_numpy(tone).mean().item()
    for name, module in (("int", Averages()), ("tensor", AveragesOfTensors())):
        torch.jit.save(torch.jit.script(module), tmp_path / f"{name}.pt")
        home.register(name, tmp_path / f"{name}.pt", "--trust")
        for given in (f"{tmp_path}/t.wav", f"x={tmp_path}/t.wav"):
            answer = json.loads(home.sire("predict", name, "-i", given).stdout)
            assert answer == [pytest.approx(mean), 48000]
    assert json.loads(home.sire("predict", "rated", "-i", tmp_path / "t.wav").stdout) == 48000


def test_a_program_that_cannot_be_told_the_rate_is_registered_with_it(
    home: Home, tmp_path: Path
) -> None:
    torch.jit.save(torch.jit.script(Average()), tmp_path / "m.pt")
    tone = np.sin(np.arange(4800) / 10).astype(np.float32)
    soundfile.write(tmp_path / "t.wav", tone, 48000, subtype="FLOAT")
    home.register("a", tmp_path / "m.pt", "--trust")
    error = home.sire("predict", "a", "-i", tmp_path / "t.wav", code=10).stderr.decode()
    assert "48000 Hz" in error
    assert "--audio-rate" in error
    home.register("b", tmp_path / "m.pt", "--trust", "--audio-rate", "16000")
    answer = json.loads(home.sire("predict", "b", "-i", tmp_path / "t.wav").stdout)
    expected = soxr.resample(tone, 48000, 16000, quality="VHQ")
    assert answer == pytest.approx(torch.from_numpy(expected).mean().item())


def test_a_model_gets_recordings_at_its_rate(home: Home, tmp_path: Path) -> None:
    shapes = {"x": "float32[1,n]"}
    write_graph(tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], shapes, {"y": "float32[1,n]"})
    tone = np.sin(np.arange(4800) / 10).astype(np.float32)
    soundfile.write(tmp_path / "t.wav", tone, 48000, subtype="FLOAT")
    home.register("a", tmp_path / "m.onnx", "--audio-rate", "16000")
    answer = np.array(json.loads(home.sire("predict", "a", "-i", tmp_path / "t.wav").stdout))
    expected = soxr.resample(tone, 48000, 16000, quality="VHQ")
    assert np.array_equal(answer.astype(np.float32)[0], expected)
    assert b"Audio rate" in home.sire("show", "a").stdout
    home.register("b", tmp_path / "m.onnx")
    error = home.sire("predict", "b", "-i", tmp_path / "t.wav", code=10).stderr.decode()
    assert "48000 Hz" in error
    assert "--audio-rate" in error


def test_pictures_are_as_the_model_declares_them(home: Home, tmp_path: Path) -> None:
    shapes = {"x": "float32[n,3,48,w]"}
    write_graph(
        tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], shapes, {"y": "float32[n,3,48,w]"}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (200, 900, 3), np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "line.bmp")
    declared = ("--channel-order", "bgr", "--pixel-range", "-1,1", "--side-multiple", "32")
    home.register("ocr", tmp_path / "m.onnx", *declared, "--image-fit", "pad", "--pad-value", "255")
    answer = np.array(json.loads(home.sire("predict", "ocr", "-i", tmp_path / "line.bmp").stdout))
    scaled = np.asarray(picture.resize((216, 48), Image.Resampling.BILINEAR))
    expected = np.pad(scaled, ((0, 0), (4, 4), (0, 0)), constant_values=255)[..., ::-1]
    expected = expected.transpose(2, 0, 1)[np.newaxis] / 127.5 - 1
    assert answer.shape == (1, 3, 48, 224)
    assert np.abs(answer - expected).max() < 1e-6
    shown = home.sire("show", "ocr").stdout.decode()
    for text in ("bgr", "-1,1", "pad", "255", "32"):
        assert text in shown


def test_options_that_an_input_cannot_have_are_rejected_when_it_is_registered(
    home: Home, tmp_path: Path
) -> None:
    shapes = {"x": "float32[n,3,8,8]"}
    write_graph(
        tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], shapes, {"y": "float32[n,3,8,8]"}
    )
    error = home.sire("register", "m", tmp_path / "m.onnx", "--mean", "0.5,0.5", code=9).stderr
    assert b"--mean has 2 values, but the images of m have 3 channels" in error
    declared = ("--input", "x:uint8[-1,3,8,8]", "--std", "0.2")
    error = home.sire("register", "m", tmp_path / "m.onnx", *declared, code=9).stderr
    assert b"--std applies to floats, but m takes integers" in error


def test_answers_are_files(home: Home, classes: Any, tmp_path: Path) -> None:
    home.sire("predict", "painter", "-i", "-", "-o", tmp_path / "out.png", stdin=b"1")
    painted = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(painted, np.arange(12).reshape(2, 2, 3))
    (tmp_path / "a.bin").write_bytes(b"\x00abc")
    home.sire("predict", "archive", "-i", tmp_path / "a.bin", "-o", tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == b"cba\x00"
    piped = home.sire("predict", "archive", "-i", tmp_path / "a.bin", "--to", "bytes").stdout
    assert piped == b"cba\x00"
    error = home.sire("predict", "archive", "-i", tmp_path / "a.bin", "--to", "png", code=10)
    assert b"not an image" in error.stderr


def test_a_recording_and_a_setting_are_one_request(home: Home, tmp_path: Path) -> None:
    write_graph(
        tmp_path / "g.onnx",
        [("Mul", ["audio", "gain"], ["y"])],
        {"audio": "float32[n]", "gain": "float32[k]"},
        {"y": "float32[n]"},
    )
    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0, 0.5, -0.5]), 16000, format="FLAC")
    (tmp_path / "a.flac").write_bytes(buffer.getvalue())
    home.register("g", tmp_path / "g.onnx", "--audio-rate", "16000")
    asked = ("predict", "g", "-i", f"audio={tmp_path}/a.flac", "-i", "gain=[3]")
    assert json.loads(home.sire(*asked).stdout) == [0, 1.5, -1.5]


def test_inputs_may_have_names_that_are_not_utf8(
    home: Home, echo: Callable[..., Any], tmp_path: Path
) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    file = directory / os.fsdecode(b"in\xe9.json")
    file.write_text("[1]")
    assert echo("-i", file) == [1]
    for arguments in (("-i", file), ("--from-dir", directory)):
        (job,) = home.sire("submit", "echo", *arguments).stdout.decode().split()
        home.sire("job", "wait", job)
        assert home.sire("job", "result", job).stdout == b"[1]\n"
        assert "in\\xe9.json" in home.sire("job", "show", job).stdout.decode()


def test_models_may_have_paths_that_are_not_utf8(home: Home, tmp_path: Path) -> None:
    shapes = {"x": "float32[n]"}
    old = tmp_path / os.fsdecode(b"d\xe9")
    old.mkdir()
    for name, file in (("a", old / "m.onnx"), ("b", tmp_path / os.fsdecode(b"m\xe9.onnx"))):
        write_graph(tmp_path / "m", [("Neg", ["x"], ["y"])], shapes, {"y": "float32[n]"})
        (tmp_path / "m").rename(file)
        home.sire("register", name, file)
        home.sire("register", name, file, "--replace")
        answer = home.sire("predict", name, "-i", "-", stdin=b"[1]").stdout
        assert json.loads(answer) == [-1]
        home.sire("verify", name)
    shown = home.sire("show", "b").stdout.decode()
    assert "m%e9.onnx" in shown
    error = home.sire("register", "c", old / "nothing.onnx", code=3).stderr.decode()
    assert "does not exist" in error


def test_code_below_a_path_that_is_not_utf8_is_rejected_by_name(
    home: Home, code: Path, tmp_path: Path
) -> None:
    old = tmp_path / os.fsdecode(b"d\xe9")
    old.mkdir()
    code.rename(old / "models.py")
    (tmp_path / "weights").write_bytes(b"1")
    kind = f"{old}/models.py:Echo"
    error = home.sire(
        "register", "m", tmp_path / "weights", "--class", kind, "--runtime", "python", code=9
    )
    assert b"is not valid UTF-8" in error.stderr
