"""Runs a target guided by coverage: ``python -m tests.fuzz frames --seconds 60``.

What is found interesting is kept below ``.fuzz``, and is where the next run begins. An input that
shows a bug is written there as ``crash-…``, and the run ends with a failure.
"""

import argparse
import hashlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

TARGETS = (
    *("frames", "codecs", "registry_files", "configuration", "model_headers"),
    *("header_reader", "client_limits", "yaml_files", "zmtp"),
    *("v2_requests", "program_streams", "http_framing"),
)
# No input has a good reason to take longer, or the process to grow larger.
SLOWEST_SECONDS, LARGEST_MIB = 20, 3072


def main() -> None:
    """Fuzz one target, or all of them and a daemon one after another."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=(*TARGETS, "daemon", "all"))
    parser.add_argument("--runs", type=int, default=-1, help="executions; -1 for any number")
    parser.add_argument("--seconds", type=int, default=0, help="0 for any time")
    parser.add_argument("--seed", type=int, default=0, help="of chance; 0 for another each time")
    parser.add_argument("--corpus", type=Path, help="a directory; the default is kept in .fuzz")
    given = parser.parse_args()
    if given.target == "all":
        sys.exit(_all(given.seconds or 60))
    if given.target == "daemon":
        from tests.fuzz.daemon import run_alone

        run_alone(given.runs if given.runs > 0 else 1_000_000)
        return
    limits = [f"-runs={given.runs}", f"-max_total_time={given.seconds}", f"-seed={given.seed}"]
    _fuzz(given.target, limits, given.corpus or Path(".fuzz") / given.target)


def _all(seconds: int) -> int:
    """Each in a process of its own, in a share of the time; the daemon has a million frames."""
    failed = 0
    for target in (*TARGETS, "daemon"):
        limit = [] if target == "daemon" else ["--seconds", str(max(1, seconds // len(TARGETS)))]
        began = time.monotonic()
        status = os.spawnv(  # noqa: S606
            os.P_WAIT, sys.executable, [sys.executable, "-m", "tests.fuzz", target, *limit]
        )
        print(
            f"{target}: {'a bug' if status else 'nothing'} found in "
            f"{time.monotonic() - began:.0f} s"
        )
        failed |= status != 0
    return failed


def _fuzz(target: str, limits: list[str], corpus: Path) -> None:
    try:
        import atheris
    except ImportError:
        sys.exit(
            "atheris is not installed: there are wheels for Linux on x86-64, Python 3.11 to 3.13."
        )
    with atheris.instrument_imports(include=["sire", "sired"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="seeds-") as seeds:
        for number, seed in enumerate(module.seeds()):
            (Path(seeds) / str(number)).write_bytes(seed)
        options = [
            *(*limits, "-max_len=16384", f"-timeout={SLOWEST_SECONDS}"),
            *(f"-rss_limit_mb={LARGEST_MIB}", f"-artifact_prefix={corpus}/"),
        ]
        kept = partial(_keep_what_fails, module.fuzz_one, corpus)
        atheris.Setup([sys.argv[0], *options, str(corpus), seeds], kept)
        atheris.Fuzz()


def _keep_what_fails(fuzz_one: Callable[[bytes], None], corpus: Path, data: bytes) -> None:
    try:
        fuzz_one(data)
    except BaseException:
        file = corpus / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
        file.write_bytes(data)
        print(f"{file} shows a bug: {data[:200]!r}", flush=True)
        raise


if __name__ == "__main__":
    main()
