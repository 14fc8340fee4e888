"""What the Tab key offers, in the shells themselves."""

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.paths import Paths, find_paths
from sire.protocol.devices import DeviceInfo, DeviceList
from sire.protocol.jobs import JobList, ListJobs
from sire.protocol.replies import ModelInfo, ModelList
from sire.protocol.requests import Devices, ListModels
from sire.spec import Job, ModelSpec, Signature
from tests.stand_ins.daemon import StandIn
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "completions"
PATIENCE_SECONDS = 90
# Twice what is aimed at, because processors that run tests are slower.
SLOWEST_SECONDS = 0.4

COMMAND = f"""#!{sys.executable}
from sire_cli.main import main
main()
"""
PATIENT = f"""#!{sys.executable}
from sire_cli.options import completion
completion._TIMEOUT_SECONDS = {PATIENCE_SECONDS}
"""
BASH = """
source {scripts}/sire.bash
COMP_LINE=$1 COMP_POINT=${{#1}}
_sire_completion sire
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "source {scripts}/sire.fish; complete --do-complete $argv[1]"
ZSH = """
unsetopt zle_bracketed_paste prompt_cr prompt_sp; zle_highlight=(none)
fpath=({scripts} $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '
"""


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="sire-") as home:
        yield find_paths({"SIRE_HOME": home})


@pytest.fixture
def environment(paths: Paths, tmp_path: Path) -> dict[str, str]:
    """One in which `sire` is a command."""
    sire = tmp_path / "sire"
    sire.write_text(COMMAND)
    sire.chmod(0o755)
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONPATH": str(ROOT),
        "SIRE_HOME": str(paths.runtime.parent),
    }


@pytest.fixture
def daemon(paths: Paths, environment: dict[str, str], tmp_path: Path) -> Iterator[StandIn]:
    """A daemon that a busy machine may keep from replying as soon as completions want it to."""
    (tmp_path / "sire").write_text(PATIENT + COMMAND)
    stand_in = StandIn(paths, answer)
    yield stand_in
    stand_in.stop()


def answer(request: Any) -> Any:
    match request:
        case ListModels():
            return ModelList(models=tuple(map(a_model, ("mnist", "resnet50", "resnet101"))))
        case Devices():
            return DeviceList(
                devices=tuple(map(a_device, ("cuda:0", "cuda:1", "cpu"))), strategy=""
            )
        case ListJobs():
            return JobList(jobs=tuple(map(a_job, ("7kq2xma", "7abcdef", "qqqqqqq"))))


def a_job(number: str) -> Job:
    return Job(number, "mnist", "pending", "normal", {}, "", "text/plain", "text/plain", 1, 0, 0.0)


def a_model(name: str) -> ModelInfo:
    return ModelInfo(
        model=ModelSpec(name=name, path="/model.onnx"),
        state="ready",
        instances=(),
        footprint_bytes=1,
        footprint_source="declared",
        signature=Signature(),
        last_error=None,
    )


def a_device(name: str) -> DeviceInfo:
    return DeviceInfo(
        name=name,
        kind="cpu",
        hardware="",
        uuid="",
        total_bytes=1,
        capacity_bytes=1,
        used_bytes=0,
        foreign_bytes=0,
        free_bytes=1,
        available=True,
    )


def ask(environment: dict[str, str], command: list[str], line: str) -> list[str]:
    done = subprocess.run(
        [*command, line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stderr == ""
    return [offer.split("\t")[0] for offer in done.stdout.split("\n") if offer]


@pytest.fixture
def in_bash(environment: dict[str, str]) -> Callable[..., Any]:
    return lambda line: ask(environment, ["bash", "-c", BASH.format(scripts=SCRIPTS), "bash"], line)


@pytest.fixture
def in_fish(environment: dict[str, str]) -> Any:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    return lambda line: ask(environment, ["fish", "--command", FISH.format(scripts=SCRIPTS)], line)


@pytest.fixture
def in_zsh(environment: dict[str, str]) -> Iterator[Callable[[str, str], None]]:
    """An interactive zsh: there, functions that complete can be called by the Tab key only."""
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    master, slave = pty.openpty()
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"],
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)

    def read_until(text: str) -> str:
        output, deadline = "", time.monotonic() + PATIENCE_SECONDS
        while text not in output:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come; there was {output}"
            if select.select([master], [], [], left)[0]:
                output += os.read(master, 4096).decode()
        return output

    def press_tab(line: str, expected: str) -> None:
        """Expect the line to become this."""
        os.write(master, f"{line}\t".encode())
        read_until(expected)

    os.write(master, ZSH.format(scripts=SCRIPTS).encode())
    read_until("\nready> ")
    yield press_tab
    zsh.kill()
    zsh.wait()
    os.close(master)


def test_bash_completes_commands(in_bash: Callable[..., Any]) -> None:
    assert "load" in in_bash("sire l")
    assert "predict" in in_bash("sire ")


def test_bash_completes_options(in_bash: Callable[..., Any]) -> None:
    assert "--interval" in in_bash("sire top --")


def test_bash_completes_priorities_wherever_one_can_be_given(in_bash: Callable[..., Any]) -> None:
    for command in ("predict m", "submit m", "register m f"):
        assert in_bash(f"sire {command} --priority ") == ["high", "normal", "low"]


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "sire.bash"), ("zsh", "_sire"), ("fish", "sire.fish")]
)
def test_sire_prints_the_script_of_a_shell(
    environment: dict[str, str], in_bash: Callable[..., Any], shell: str, file: str
) -> None:
    printed = subprocess.run(["sire", "completion", shell], env=environment, capture_output=True)
    assert printed.stdout == (SCRIPTS / file).read_bytes()
    assert shell in in_bash("sire completion ")


def test_another_shell_has_no_script_and_is_told_which_have(environment: dict[str, str]) -> None:
    done = subprocess.run(["sire", "completion", "tcsh"], env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"bash, zsh, fish" in done.stderr


def test_a_bash_that_reads_what_sire_prints_completes(
    environment: dict[str, str], daemon: StandIn
) -> None:
    script = BASH.replace("source {scripts}/sire.bash", "source <(sire completion bash)")
    assert ask(environment, ["bash", "-c", script.format(), "bash"], "sire show mn") == ["mnist"]


@pytest.mark.parametrize(
    "verb", ["show", "rm", "load", "unload", "reload", "predict", "bench", "stats"]
)
def test_bash_completes_models_that_the_daemon_knows(
    daemon: StandIn, in_bash: Callable[..., Any], verb: str
) -> None:
    assert in_bash(f"sire {verb} ") == ["mnist", "resnet50", "resnet101"]
    assert in_bash(f"sire {verb} res") == ["resnet50", "resnet101"]


@pytest.mark.parametrize("verb", ["show", "wait", "result", "cancel", "rm"])
def test_bash_completes_jobs_that_the_daemon_knows(
    daemon: StandIn, in_bash: Callable[..., Any], verb: str
) -> None:
    assert in_bash(f"sire job {verb} 7") == ["7kq2xma", "7abcdef"]


def test_bash_completes_devices_though_it_splits_words_at_colons(
    daemon: StandIn, in_bash: Callable[..., Any]
) -> None:
    assert in_bash("sire load mnist --device ") == ["auto", "cuda:0", "cuda:1", "cpu"]
    assert in_bash("sire load mnist --device cu") == ["cuda:0", "cuda:1"]
    assert in_bash("sire load mnist --device cuda:") == ["0", "1"]
    assert in_bash("sire load mnist --device=cuda:") == ["0", "1"]


def test_what_stands_behind_the_cursor_does_not_matter(
    environment: dict[str, str], daemon: StandIn
) -> None:
    script = BASH.replace("COMP_POINT=${{#1}}", "COMP_POINT=13").format(scripts=SCRIPTS)
    assert ask(environment, ["bash", "-c", script, "bash"], "sire show res --json") == [
        "resnet50",
        "resnet101",
    ]


def test_without_a_daemon_bash_is_offered_nothing_and_none_is_started(
    in_bash: Callable[..., Any], paths: Paths
) -> None:
    assert in_bash("sire show ") == []
    assert not paths.lock.exists()


def test_a_daemon_that_does_not_answer_is_not_waited_for(
    in_bash: Callable[..., Any], paths: Paths
) -> None:
    hanging = StandIn(paths, lambda request: None)
    assert in_bash("sire show ") == []
    hanging.stop()


def processor_seconds() -> float:
    """Of processes that have ended: how long they were held up by others does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_completing_takes_less_time_than_one_notices(environment: dict[str, str]) -> None:
    asked = {"_SIRE_COMPLETE": "complete_bash", "COMP_WORDS": "sire predict ", "COMP_CWORD": "2"}

    def is_quick() -> bool:
        started = processor_seconds()
        done = subprocess.run(
            ["sire"], env=environment | asked, capture_output=True, check=False, text=True
        )
        took = processor_seconds() - started
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
        return took < SLOWEST_SECONDS

    wait_until(is_quick)  # what shares a processor with others takes longer there, too


def test_fish_completes_commands_models_and_devices(daemon: StandIn, in_fish: Any) -> None:
    assert "load" in in_fish("sire l")
    assert in_fish("sire show res") == ["resnet50", "resnet101"]
    assert in_fish("sire load mnist --device cuda:") == ["cuda:0", "cuda:1"]
    assert in_fish("sire load mnist --device=cu") == ["--device=cuda:0", "--device=cuda:1"]


def test_fish_completes_files_where_sire_has_nothing_to_say(in_fish: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    assert in_fish(f"sire show {tmp_path}/mod") == [f"{tmp_path}/model.onnx"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sire devi", "sire devices "),
        ("sire show mn", "sire show mnist "),
        ("sire load mnist --device a", "--device auto "),
        ("sire load mnist --device=cuda:", "cuda:0  cuda:1"),
    ],
)
def test_zsh_completes_at_the_first_press_of_the_key(
    daemon: StandIn, in_zsh: Callable[[str, str], None], line: str, expected: str
) -> None:
    in_zsh(line, expected)
