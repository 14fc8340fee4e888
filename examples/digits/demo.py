"""Serve the digit networks that ``train.py`` trained, and check what they read.

Usage: python examples/digits/demo.py DIRECTORY

Each command is printed before it runs, and works the same way in a shell. The daemon is private and
has a registry of its own: SIRE_HOME is a directory that is removed at the end.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIRE = Path(sys.executable).with_name("sire")
CLASS = "examples/digits/model.py:DigitNet"
MODELS = ("digits-torch", "digits-onnx")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(directory: Path) -> None:
    with _private_daemon():
        _sire("daemon", "start")
        _sire(
            *("register", "digits-torch", str(directory / "digits.safetensors")),
            *("--class", CLASS, "--input", "float32[-1,1,8,8]"),
        )
        _sire("register", "digits-onnx", str(directory / "digits.onnx"))
        for model in MODELS:
            _read_all(model, sorted((directory / "png").glob("*.png")))
        for report in ("ls", "ps", "stats", "devices"):
            _sire(report)


@contextmanager
def _private_daemon() -> Iterator[None]:
    """Provide a SIRE_HOME for this run only, and stop its daemon however the run ends."""
    for ending in _ENDINGS:
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="sire-") as home:
        os.environ["SIRE_HOME"] = home
        try:
            yield
        finally:
            # Nothing may keep the daemon from being stopped; the command inherits this.
            for ending in _ENDINGS:
                signal.signal(ending, signal.SIG_IGN)
            _sire("daemon", "stop")


def _read_all(model: str, files: list[Path]) -> None:
    """Run a model on every image, and fail unless most answers are correct."""
    right = 0
    for file in files:
        answer = json.loads(_sire("predict", model, "-i", str(file)))
        right += answer["digit"] == [int(file.name[0])]
    print(f"# {model} read {right} of {len(files)} right\n")
    if right < 0.8 * len(files):
        sys.exit(f"{model} is wrong too often: it was right about 97 % of the digits in training.")


def _sire(*arguments: str) -> str:
    """Run a command, print it and its output, and return the output; exit if it fails."""
    print(f"$ {shlex.join(['sire', *arguments])}", flush=True)
    done = subprocess.run([SIRE, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        sys.exit(f"sire {arguments[0]} failed with exit code {done.returncode}.")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
