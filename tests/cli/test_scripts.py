"""What scripts do: the examples of docs/how-to/scripts.md, pipes, cron."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

pytestmark = pytest.mark.own_daemon

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"<!-- tested -->\n```bash\n(.*?)```", re.DOTALL)
BLOCKS = MARKED.findall((ROOT / "docs/how-to/scripts.md").read_text())


@pytest.fixture
def shell(home: Home, register: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run bash where `sire` is a command, `digits` a model, and scans/ has inputs."""
    register("digits", 2)
    sire = tmp_path / "bin" / "sire"
    (tmp_path / "scans").mkdir()
    sire.parent.mkdir()
    sire.write_text(f"#!{sys.executable}\nfrom sire_cli.main import main\nmain()\n")
    sire.chmod(0o755)
    for number in range(1, 7):
        (tmp_path / "scans" / f"{number}.json").write_text(f"[[{number}, 0, 0, 0]]")
    environment = {"PYTHONPATH": str(ROOT), "SIRE_HOME": str(home.path)}

    def run(script: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        # As cron does it: no HOME, no XDG_RUNTIME_DIR, no terminal.
        path = f"{sire.parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", script],
            env={"PATH": path, **environment, **more},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=60,
        )

    return run


@pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq")
def test_the_examples_of_the_page_run_as_they_stand(
    shell: Callable[..., Any], tmp_path: Path
) -> None:
    assert len(BLOCKS) == 2
    first, second = map(shell, BLOCKS)
    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
    answer, shown = first.stdout.decode().splitlines()
    assert json.loads(answer) == [2, 0, 0, 0]
    assert shown.startswith("digits ")
    for number in range(1, 7):
        written = (tmp_path / "answers" / f"{number}.json").read_text()
        assert json.loads(written) == [[2 * number, 0, 0, 0]]
    assert second.stdout == b"answered\n"


def test_a_failure_in_a_pipe_is_the_scripts(shell: Callable[..., Any]) -> None:
    script = "set -euo pipefail; echo '[NaN]' | sire predict digits -i - -o - | cat; echo never"
    done = shell(script)
    assert (done.returncode, done.stdout) == (10, b"")
    assert b"not valid JSON" in done.stderr


def test_xargs_says_that_one_of_many_failed_and_the_others_are_answered(
    shell: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "scans" / "3.json").write_text("[")
    done = shell("ls scans/*.json | xargs -P 3 -n 1 sire predict digits -o answers/ -i")
    assert done.returncode == 123  # xargs(1): any invocation exited with 1 to 125
    assert len(list((tmp_path / "answers").iterdir())) == 5


def test_without_home_and_runtime_directory_paths_are_found_and_nothing_is_made(
    shell: Callable[..., Any],
) -> None:
    done = shell("env -u SIRE_HOME sire config path")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().rstrip().endswith("/.config/sire/config.toml")
