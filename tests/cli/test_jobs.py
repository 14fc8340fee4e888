"""Jobs as a user meets them: ids, words, exit codes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Gate
from tests.home import Home


@pytest.fixture
def moody(home: Home, register: Callable[..., Any]) -> Home:
    register("m", 2, "Moody")
    return home


def submit(home: Home, *arguments: Any, stdin: bytes = b"") -> list[str]:
    return home.sire("submit", "m", *arguments, stdin=stdin).stdout.decode().split()


def test_a_job_is_submitted_waited_for_shown_and_read(moody: Home, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text("[7, 1, 1, 1]")
    (job,) = submit(moody, "-i", tmp_path / "in.json", "--metadata", "a=b=c", "--priority", "high")
    waited = moody.sire("job", "wait", job)
    assert (waited.stdout, waited.stderr) == (b"", b"")
    assert json.loads(moody.sire("job", "result", job).stdout) == [14, 2, 2, 2]
    shown = moody.json("job", "show", job)["job"]
    assert (shown["state"], shown["priority"], shown["metadata"]) == (
        "complete",
        "high",
        {"a": "b=c"},
    )
    assert job in moody.sire("job", "show", job).stdout.decode()
    moody.sire("job", "result", job, "-o", f"{tmp_path}/out/")
    assert json.loads((tmp_path / "out" / "in.json").read_text()) == [14, 2, 2, 2]
    moody.sire("job", "rm", job)
    moody.sire("job", "show", job, code=3)


def test_stdin_is_an_input_and_the_answers_type_is_said_at_submission(
    moody: Home, tmp_path: Path
) -> None:
    (job,) = submit(moody, "-i", "-", "--to", "npy", stdin=b"[7, 1, 1, 1]")
    moody.sire("job", "wait", job)
    moody.sire("job", "result", job, "-o", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").tolist() == [14, 2, 2, 2]
    refused = moody.sire("job", "result", job, "-o", tmp_path / "out.json", code=2)
    assert b"has type npy" in refused.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_directory_is_submitted_in_sorted_order(moody: Home, tmp_path: Path) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"{number}.json").write_text(f"[1{number}, 0, 0, 0]")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    accepted = moody.json("submit", "m", "--from-dir", tmp_path)
    assert [one["input"] for one in accepted] == [str(tmp_path / f"{n}.json") for n in (1, 2, 3)]
    moody.sire("job", "wait", "--all")
    results = [json.loads(moody.sire("job", "result", one["id"]).stdout)[0] for one in accepted]
    assert results == [22, 24, 26]
    assert moody.sire("job", "wait", "--all").stderr == b""


def test_a_batch_shows_its_progress_to_a_person_and_ids_to_a_program(
    moody: Home, tmp_path: Path
) -> None:
    for number in range(450):
        (tmp_path / f"{number}.json").write_text("[7, 0, 0, 0]")
    terminal, stderr = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "sire_cli", "submit", "m", "--from-dir", tmp_path],
        env={**moody.environment, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        check=True,
    )
    os.close(stderr)
    assert len(set(done.stdout.split())) == 450
    assert b"/450" in os.read(terminal, 65536)
    os.close(terminal)
    waited = moody.sire("job", "wait", *done.stdout.decode().split(), "--json")
    assert {end["state"] for end in json.loads(waited.stdout)} == {"complete"}


def test_a_failed_job_fails_its_reader_as_a_prediction_would(moody: Home) -> None:
    (job,) = submit(moody, "-i", "-", stdin=b"[1, 0, 0, 0]")
    assert b"InferenceError" in moody.sire("job", "wait", job, code=5).stderr
    failed = moody.sire("job", "result", job, code=5)
    assert b"no ones, please" in failed.stderr
    assert failed.stdout == b""
    assert moody.json("job", "ls", "--state", "failed")[0]["error"]["code"] == "InferenceError"


def test_the_exit_code_of_a_wait_is_that_of_the_worst(moody: Home, gate: Gate) -> None:
    (fine,) = submit(moody, "-i", "-", stdin=b"[7, 0, 0, 0]")
    (wrong,) = submit(moody, "-i", "-", stdin=b"[1,")
    (raises,) = submit(moody, "-i", "-", stdin=b"[1, 0, 0, 0]")
    moody.sire("job", "wait", fine)
    moody.sire("job", "wait", fine, wrong, code=10)
    moody.sire("job", "wait", fine, wrong, raises, code=5)
    (slow,) = submit(moody, "-i", "-", stdin=b"[5, 0, 0, 0]")
    assert b"has not ended" in moody.sire("job", "wait", slow, "--timeout", "50ms", code=7).stderr
    assert b"no result yet" in moody.sire("job", "result", slow, code=7).stderr
    moody.sire("job", "cancel", slow)
    moody.sire("job", "wait", slow, fine, code=1)
    assert b"cancelled" in moody.sire("job", "result", slow, code=1).stderr


def test_jobs_are_listed_cancelled_and_removed_together(moody: Home, gate: Gate) -> None:
    for _ in range(3):
        submit(moody, "-i", "-", stdin=b"[5, 0, 0, 0]")
    table = moody.sire("job", "ls").stdout.decode().splitlines()
    assert table[0].startswith("ID")
    assert len(table) == 4
    assert len(moody.json("job", "ls", "--limit", "2", "--model", "m")) == 2
    assert len(moody.json("job", "ls", "--limit", "all")) == 3
    assert moody.json("job", "ls", "--model", "n") == []
    assert b"Cancelled 3 jobs" in moody.sire("job", "cancel", "--all").stderr
    assert len(moody.json("job", "ls", "--state", "cancelled")) == 3
    assert b"Removed 0 jobs" in moody.sire("job", "rm", "--older-than", "7d").stderr
    assert b"Removed 3 jobs" in moody.sire("job", "rm", "--finished").stderr
    assert moody.json("job", "ls") == []


def test_what_is_wrong_is_said_before_anything_is_submitted(moody: Home, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text("[7, 0, 0, 0]")
    given = ("-i", tmp_path / "in.json")
    moody.sire("submit", "m", code=2)
    moody.sire("submit", "m", "--from-dir", tmp_path / "missing", code=3)
    moody.sire("submit", "m", "--from-dir", tmp_path / "in.json", code=10)
    moody.sire("submit", "m", *given, "-i", tmp_path / "missing", code=3)
    moody.sire("submit", "nobody", *given, code=3)
    moody.sire("submit", "m", *given, "--priority", "urgent", code=2)
    moody.sire("submit", "m", *given, "--metadata", "words", code=2)
    moody.sire("submit", "m", "-i", "-", "-i", "-", code=2)
    moody.sire("job", "ls", "--state", "asleep", code=2)
    moody.sire("job", "ls", "--limit", "few", code=2)
    moody.sire("job", "wait", code=2)
    moody.sire("job", "cancel", "abc", "--all", code=2)
    moody.sire("job", "wait", "nobody", code=3)
    assert moody.json("job", "ls") == []


def test_a_mistyped_id_brings_the_one_that_was_meant(moody: Home) -> None:
    (job,) = submit(moody, "-i", "-", stdin=b"[7, 0, 0, 0]")
    assert job.encode() in moody.sire("job", "show", job[:-1], code=3).stderr


def test_an_answer_for_python_is_read_there(moody: Home) -> None:
    from sire import ModelManager

    with ModelManager(home=moody.path) as manager:
        job = manager.submit("m", [7.0, 0.0, 0.0, 0.0])
        manager.wait_job(job)
        assert b"from Python" in moody.sire("job", "result", job, code=10).stderr
        (ours,) = submit(moody, "-i", "-", stdin=b"[7, 0, 0, 0]")
        manager.wait_job(ours)
        assert json.loads(manager.job_result(ours)) == [14, 0, 0, 0]
