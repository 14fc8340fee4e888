"""What code answers in a process of its own, to compare sire with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(directory: Path, code: str) -> Any:
    """Run Python code in a directory, as a training script is; returns what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None
