"""Every target, with a few inputs made at random and for a few seconds guided by coverage.

`make fuzz` does the same for as long as it is told to.
"""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.draw import mutated

ROOT = Path(__file__).parents[2]
# About two seconds each, half of which is importing.
RUNS = {
    "frames": 30_000,
    "codecs": 10_000,
    "registry_files": 3_000,
    "configuration": 4_000,
    "model_headers": 2_000,
    "header_reader": 800,
    "client_limits": 5_000,
    "yaml_files": 1_000,
    "zmtp": 10_000,
    "v2_requests": 5_000,
    "program_streams": 5_000,
    "http_framing": 3_000,
}


@pytest.mark.parametrize("target", TARGETS)
def test_made_up_input_is_read_or_refused(target: Any) -> None:
    module = importlib.import_module(f"tests.fuzz.{target}")
    seeds = module.seeds()
    changed = st.builds(
        mutated, st.sampled_from(seeds), st.randoms(use_true_random=False), st.just(seeds)
    )

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.one_of(st.binary(max_size=300), changed))
    def check(data: Any) -> None:
        module.fuzz_one(data)

    check()


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not there")
@pytest.mark.parametrize("target", TARGETS)
def test_guided_by_coverage_no_input_is_found_that_is_neither(target: Any, tmp_path: Path) -> None:
    arguments = [target, "--runs", str(RUNS[target]), "--corpus", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments, "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"Done {RUNS[target]} runs" in done.stderr
