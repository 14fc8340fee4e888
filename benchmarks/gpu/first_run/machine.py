"""What the checks ask the daemon, through the command line, and the driver."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.gpu.first_run import models


@dataclass(frozen=True, slots=True)
class Machine:
    """The device that is checked, and a directory for the files of models."""

    device: str
    directory: Path

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU, or the CPU on which the run is tried."""
        return self.device != "cpu"

    def sire(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of ``sire``."""
        command = [sys.executable, "-m", "sire_cli", *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def register(self, name: str, weights: dict[str, torch.Tensor], kind: type, *more: str) -> None:
        """Write weights, and register them with a class of ``models``.

        Raises:
            RuntimeError: the model was refused.
        """
        file = self.directory / f"{name}.safetensors"
        save_file(weights, file)
        source = f"{models.__file__}:{kind.__name__}"
        self.must("register", name, str(file), "--class", source, "--device", self.device, *more)

    def must(self, *words: str, given: str = "") -> str:
        """What a command prints.

        Raises:
            RuntimeError: it fails.
        """
        done = self.sire(*words, given=given)
        if done.returncode:
            raise RuntimeError(f"sire {words[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def ask(self, name: str, value: str) -> str:
        """The answer of a model as text; raises RuntimeError if it fails."""
        return self.must("predict", name, "-i", "-", given=value)

    def instance(self, name: str) -> dict[str, Any]:
        """The first instance of a model, as ``sire ps`` shows it; raises RuntimeError if none."""
        for found in json.loads(self.must("ps", "--json")):
            if found["model"] == name:
                return dict(found)
        raise RuntimeError(f"{name} is not loaded")
