"""Models of sound, and what their packages answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real.case import VOICE_RATE, Case, recorded_runs, voice, write_voice


def _silero_onnx(directory: Path) -> Mapping[str, Any]:
    import torch
    from silero_vad import load_silero_vad

    model = load_silero_vad(onnx=True)
    sound = torch.from_numpy(write_voice(directory / "voice.wav", 2.0))
    with recorded_runs() as runs:
        for start in range(0, 512 * 12, 512):
            model(sound[start : start + 512], VOICE_RATE)
    feeds, answers = runs[-1]
    np.save(directory / "chunk.npy", feeds["input"])
    np.save(directory / "state.npy", feeds["state"])
    return answers


def _silero_torchscript(directory: Path) -> Mapping[str, Any]:
    import torch
    from silero_vad import load_silero_vad

    sound = write_voice(directory / "chunk.wav", 512 / VOICE_RATE)
    return {"output": load_silero_vad()(torch.from_numpy(sound), VOICE_RATE).detach().numpy()}


def _swift_f0(directory: Path) -> Mapping[str, Any]:
    from swift_f0 import SwiftF0

    sound = write_voice(directory / "voice.wav", 2.0)
    with recorded_runs() as runs:
        SwiftF0().detect(sound, VOICE_RATE)
    return runs[-1][1]


def _speechmos(directory: Path) -> Mapping[str, Any]:
    from speechmos import dnsmos

    sound = write_voice(directory / "voice.wav", 144_160 / VOICE_RATE)
    with recorded_runs() as runs:
        dnsmos.run(sound, sr=VOICE_RATE)
    return next(answers for feeds, answers in runs if feeds["input_1"].ndim == 2)


def _wake_word_spectrogram(directory: Path) -> Mapping[str, Any]:
    from openwakeword.utils import AudioFeatures

    samples = voice(1.0)
    np.save(directory / "samples.npy", samples.astype(np.float32)[None])
    features = AudioFeatures()
    with recorded_runs() as runs:
        features._get_melspectrogram(samples)  # noqa: SLF001 (what Model calls)
    return runs[-1][1]


def _wake_word(directory: Path) -> Mapping[str, Any]:
    from openwakeword.model import Model

    model = Model(wakeword_models=["hey_jarvis"], inference_framework="onnx")
    samples = voice(2.0)
    with recorded_runs() as runs:
        for start in range(0, len(samples), 1280):
            model.predict(samples[start : start + 1280])
    feeds, answers = next(run for run in reversed(runs) if "x.1" in run[0])
    np.save(directory / "features.npy", feeds["x.1"])
    return answers


def _basic_pitch(directory: Path) -> Mapping[str, Any]:
    from basic_pitch import FilenameSuffix, build_icassp_2022_model_path
    from basic_pitch.inference import Model

    model = Model(build_icassp_2022_model_path(FilenameSuffix.onnx))
    sound = write_voice(directory / "voice.wav", 43_844 / 22_050, rate=22_050)
    with recorded_runs() as runs:
        model.predict(sound[None, :, None])
    return runs[-1][1]


def _resemblyzer(directory: Path) -> Mapping[str, Any]:
    import torch
    from resemblyzer import VoiceEncoder
    from resemblyzer.audio import wav_to_mel_spectrogram

    encoder = VoiceEncoder(device="cpu", verbose=False).eval()
    sound = write_voice(directory / "voice.wav", 3.0)
    mels = np.stack([wav_to_mel_spectrogram(sound)[start : start + 160] for start in (0, 80, 120)])
    np.save(directory / "mels.npy", mels)
    with torch.inference_mode():
        return {"output": encoder(torch.from_numpy(mels)).numpy()}


def _faster_whisper(directory: Path) -> Mapping[str, Any]:
    from faster_whisper.vad import get_vad_model

    sound = write_voice(directory / "voice.wav", 512 * 40 / VOICE_RATE)
    with recorded_runs() as runs:
        get_vad_model()(sound)
    feeds, answers = runs[-1]
    for name, value in feeds.items():
        np.save(directory / f"{name}.npy", value)
    return answers


CASES = (
    Case(
        "silero-vad",
        "6.2.3",
        "silero",
        "silero_vad/data/silero_vad.onnx",
        _silero_onnx,
        "chunk and state as .npy, the rate as JSON: probability and new state",
        predict=("-i", "input=chunk.npy", "-i", "state=state.npy", "-i", "sr=16000"),
    ),
    Case(
        "silero-vad",
        "6.2.3",
        "silero-torchscript",
        "silero_vad/data/silero_vad.jit",
        _silero_torchscript,
        "WAV: probability of speech",
        register=("--trust", "--input", "x:float32[512]", "--input", "sr:int64[]=16000"),
        predict=("-i", "x=chunk.wav"),
    ),
    Case(
        "swift-f0",
        "0.3.0",
        "swift-f0",
        "swift_f0/model.onnx",
        _swift_f0,
        "WAV: pitch and confidence of each frame",
        register=("--audio-rate", "16000"),
        predict=("-i", "audio=voice.wav", "-i", "fmin=46.875", "-i", "fmax=2093.75"),
    ),
    Case(
        "speechmos",
        "0.0.1.1",
        "dnsmos",
        "speechmos/dnsmos_models/sig_bak_ovr.onnx",
        _speechmos,
        "WAV: three scores",
        register=("--audio-rate", "16000"),
        predict=("-i", "voice.wav"),
    ),
    Case(
        "openwakeword",
        "0.5.1",
        "wake-spectrogram",
        "openwakeword/resources/models/melspectrogram.onnx",
        _wake_word_spectrogram,
        "16-bit samples as .npy: spectrogram",
        predict=("-i", "samples.npy"),
    ),
    Case(
        "openwakeword",
        "0.5.1",
        "hey-jarvis",
        "openwakeword/resources/models/hey_jarvis_v0.1.onnx",
        _wake_word,
        "features as .npy: score",
        predict=("-i", "features.npy"),
    ),
    Case(
        "basic-pitch",
        "0.4.0",
        "basic-pitch",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        _basic_pitch,
        "WAV: notes, onsets and contours",
        register=("--audio-rate", "22050"),
        predict=("-i", "voice.wav"),
    ),
    Case(
        "faster-whisper",
        "1.2.1",
        "whisper-vad",
        "faster_whisper/assets/silero_vad_v6.onnx",
        _faster_whisper,
        "chunks and state as .npy: probability of each chunk, new state",
        predict=("-i", "input=input.npy", "-i", "h=h.npy", "-i", "c=c.npy"),
    ),
    Case(
        "Resemblyzer",
        "0.1.4",
        "voice-encoder",
        "resemblyzer/pretrained.pt",
        _resemblyzer,
        "spectrograms as .npy: embeddings",
        register=(
            "--class",
            "{here}/voice_encoder.py:VoiceEncoder",
            "--path",
            "{site}",
            "--arg",
            "verbose=false",
            "--input",
            "mels:float32[-1,160,40]",
        ),
        predict=("-i", "mels.npy"),
    ),
)
