"""Putting a load on a real daemon with real models."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sire.protocol.jobs import JobIds, JobList, ListJobs, UnfinishedJobs
from sire.protocol.replies import InstanceList, StatsReport
from sire.protocol.requests import Ps, Stats
from tests.conftest import Gate
from tests.daemon.asking import counted
from tests.home import Home
from tests.waiting import wait_until

FINE, RAISES, HELD = "[7, 1, 1, 1]", "[1, 0, 0, 0]", "[5, 0, 0, 0]"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Any]:
    """Writes an input file and returns its path."""

    def _file(text: str = FINE, name: str = "in.json") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return _file


@pytest.fixture
def moody(home: Home, register: Callable[..., Any]) -> Home:
    register("m", 2, "Moody")
    return home


def answered(home: Home) -> int:
    count: int = home.json("stats", "m")["inference_count"]
    return count


def bench(home: Home, *arguments: Any, code: int = 0) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(home.sire("bench", *arguments, "--json", code=code).stdout)
    return report


def test_all_requests_are_answered_and_measured(moody: Home, file: Callable[..., Any]) -> None:
    before = answered(moody)
    report = bench(moody, "m", "-i", file(), "-n", 300, "-c", 4)
    assert (report["requests"], report["answers"], report["errors"]) == (300, 300, {})
    assert (report["loads"], report["evictions"], report["crashes"]) == (1, 0, 0)
    percentiles = [report[f"{name}_latency_seconds"] for name in ("p50", "p90", "p99", "max")]
    assert percentiles == sorted(percentiles)
    assert percentiles[0] > 0
    assert report["answers_per_second"] == pytest.approx(300 / report["seconds"])
    assert [one["model"] for one in report["models"]] == ["m"]
    assert answered(moody) == before + 300


@pytest.mark.parametrize("clients", [1, 2])
def test_as_many_requests_are_under_way_as_there_are_clients_and_no_more(
    moody: Home, file: Callable[..., Any], gate: Gate, clients: int
) -> None:
    with moody.connect() as connection:

        def has_answered_more_than(count: int) -> bool:
            return counted(connection, "m").inference_count > count

        process = started(moody, "m", "-i", file(HELD), "-n", 3, "-c", clients, "--json")
        for _ in range(3 - clients):
            wait_until(lambda: counted(connection, "m").queued == clients)
            moody.json("stats", "m")  # time for one too many to come
            assert counted(connection, "m").queued == clients
            before = counted(connection, "m").inference_count
            gate.let_one_through()
            wait_until(partial(has_answered_more_than, before))
        gate.open()
        output, _ = process.communicate(timeout=90)
    assert json.loads(output)["answers"] == 3


def test_several_models_take_turns_and_their_loads_are_counted_apart(
    home: Home, register: Callable[..., Any], file: Callable[..., Any]
) -> None:
    register("a", 1)
    register("b", 2)
    home.sire("load", "b")
    report = bench(home, "a", "b", "-i", file(), "-n", 100)
    figures = {one["model"]: (one["answers"], one["loads"]) for one in report["models"]}
    assert figures == {"a": (50, 1), "b": (50, 0)}


@pytest.mark.own_daemon
def test_evictions_of_others_are_counted(
    home: Home, register: Callable[..., Any], file: Callable[..., Any]
) -> None:
    home.configure('[devices.cpu]\nmemory = "100MiB"\n')
    register("a", 1, "Scale", "--max-memory", "60MiB")
    register("b", 2, "Scale", "--max-memory", "60MiB")
    home.sire("load", "a")
    report = bench(home, "b", "-i", file(), "-n", 10)
    assert (report["loads"], report["evictions"]) == (1, 1)
    assert report["models"][0]["evictions"] == 0


def test_a_choice_at_random_is_repeated_by_its_seed(
    home: Home, register: Callable[..., Any], file: Callable[..., Any]
) -> None:
    register("a", 1)
    register("b", 2)
    arguments = ("a", "b", "-i", file(), "-n", 60, "--random")
    first = bench(home, *arguments)
    again = bench(home, *arguments, "--seed", first["seed"])
    shares = [[one["requests"] for one in report["models"]] for report in (first, again)]
    assert shares[0] == shares[1]
    assert sum(shares[0]) == 60


def test_requests_come_at_their_rate_however_long_answers_take(
    moody: Home, file: Callable[..., Any], gate: Gate
) -> None:
    moody.sire("predict", "m", "-i", file())
    with moody.connect() as connection:
        process = started(moody, "m", "-i", file(HELD), "--rate", 100, "--even", "-n", 3, "--json")
        # The first is not answered yet, and no later request is held back by that.
        wait_until(lambda: counted(connection, "m").queued == 3)
        gate.open()
        output, _ = process.communicate(timeout=90)
    assert json.loads(output)["answers"] == 3
    report = bench(moody, "m", "-i", file(), "--rate", 200, "--even", "-s", 1)
    assert report["requests"] == 200
    assert report["seconds"] >= 0.99


def test_a_delay_holds_clients_back(moody: Home, file: Callable[..., Any]) -> None:
    moody.sire("predict", "m", "-i", file())
    report = bench(moody, "m", "-i", file(), "-n", 20, "-c", 2, "--delay", "100ms")
    assert report["seconds"] > 0.9


def test_errors_are_counted_by_kind_and_the_most_frequent_makes_the_exit_code(
    moody: Home, file: Callable[..., Any]
) -> None:
    inputs = ("-i", file(RAISES, "r.json"), "-i", file(RAISES, "s.json"), "-i", file("[1,", "w"))
    done = moody.sire("bench", "m", *inputs, "--from", "json", "-n", 30, "--json", code=5)
    report = json.loads(done.stdout)
    assert report["errors"] == {"InferenceError": 20, "InvalidInput": 10}
    assert report["answers"] == 0
    assert report["p50_latency_seconds"] is None
    assert b"no ones, please" in done.stderr


def test_jobs_are_submitted_read_and_removed(moody: Home, file: Callable[..., Any]) -> None:
    before = answered(moody)
    report = bench(moody, "m", "-i", file(), "--jobs", "-n", 40)
    assert (report["answers"], report["jobs_left"]) == (40, 0)
    assert moody.json("job", "ls") == []
    assert answered(moody) == before + 40


def test_failed_jobs_fail_as_predictions_do(moody: Home, file: Callable[..., Any]) -> None:
    assert bench(moody, "m", "-i", file(RAISES), "--jobs", "-n", 10, code=5)["errors"] == {
        "InferenceError": 10
    }


def test_jobs_whose_results_nobody_wants_are_left_to_run(
    moody: Home, file: Callable[..., Any]
) -> None:
    done = moody.sire("bench", "m", "-i", file(), "--jobs", "--no-results", "-n", 40)
    assert b"40 jobs remain" in done.stderr
    moody.sire("job", "wait", "--all")
    left = moody.json("job", "ls", "--state", "complete")
    assert len(left) == 40
    assert left[0]["metadata"] == {"submitter": "sire bench"}


def test_answers_that_nobody_reads_harm_nobody(moody: Home, file: Callable[..., Any]) -> None:
    report = bench(moody, "m", "-i", file(), "--no-results", "-n", 900)
    assert (report["requests"], report["answers"]) == (900, 0)
    assert report["p50_latency_seconds"] is None
    assert json.loads(moody.sire("predict", "m", "-i", file()).stdout) == [14, 2, 2, 2]


def started(home: Home, *arguments: Any, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "bench", *map(str, arguments)],
        env={**home.environment, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        **streams,
    )


@pytest.mark.parametrize("options", [(), ("--jobs",)])
def test_ctrl_c_ends_it_and_what_was_measured_is_printed(
    moody: Home, file: Callable[..., Any], gate: Gate, options: tuple[Any, ...]
) -> None:
    with moody.connect() as connection:

        def under_way() -> int:
            if options:
                return len(connection.expect(JobIds, UnfinishedJobs()).jobs)
            return counted(connection, "m").queued

        def total() -> int:
            return connection.expect(StatsReport, Stats()).totals.inference_count

        before = total()
        process = started(moody, "m", "-i", file(HELD), "-s", 600, "-c", 3, "--json", *options)
        wait_until(lambda: under_way() == 3)
        gate.let_one_through()
        # There are three again once its client has read the first answer.
        wait_until(lambda: total() == before + 1 and under_way() == 3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 130
        report = json.loads(output)
        assert report["interrupted"]
        assert (report["answers"], report["withdrawn"], report["requests"]) == (1, 3, 4)
        gate.open()
        wait_until(
            lambda: not any(one.queued for one in connection.expect(InstanceList, Ps()).instances)
        )
        assert connection.expect(JobList, ListJobs()).jobs == ()


@pytest.mark.own_daemon
def test_a_daemon_that_goes_away_ends_it(moody: Home, file: Callable[..., Any], gate: Gate) -> None:
    process = started(moody, "m", "-i", file(HELD), "-s", 600, "-c", 8, "--json")
    with moody.connect() as connection:
        wait_until(lambda: counted(connection, "m").queued == 8)
        gate.let_one_through()
        wait_until(lambda: counted(connection, "m").inference_count == 1)
        wait_until(lambda: counted(connection, "m").queued == 8)
    os.kill(moody.pid(), signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    report = json.loads(output)
    assert process.returncode == 6
    assert report["errors"] == {"DaemonUnavailable": 8}
    assert (report["answers"], report["loads"]) == (1, None)


@pytest.mark.own_daemon
def test_who_reads_no_answers_learns_that_the_daemon_went_away(
    moody: Home, file: Callable[..., Any]
) -> None:
    process = started(moody, "m", "-i", file(), "--no-results", "--delay", "10ms", "-s", 600)
    with moody.connect() as connection:
        wait_until(lambda: connection.expect(StatsReport, Stats()).totals.inference_count > 1)
    os.kill(moody.pid(), signal.SIGKILL)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 6
    assert b"discarded" in output


def test_a_person_sees_how_far_it_is_and_a_file_does_not(
    moody: Home, file: Callable[..., Any]
) -> None:
    terminal, stderr = pty.openpty()
    process = started(moody, "m", "-i", file(), "-s", 1, stderr=stderr)
    os.close(stderr)
    output, _ = process.communicate(timeout=90)
    drawn = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert re.search(r"\[#+\.+\] \d+ ms of 1 s, \d+ sent", drawn)
    assert drawn.endswith("\x1b[K")
    assert b"\x1b" not in output
    assert re.search(rb"^p99 +\d", output, re.MULTILINE)
    assert moody.sire("bench", "m", "-i", file(), "-n", 10).stderr == b""


def test_what_is_wrong_is_said_before_anything_is_sent(
    moody: Home, file: Callable[..., Any]
) -> None:
    before = answered(moody)
    given = ("-i", file())
    for wrong in (
        ("-n", "0"),
        ("-n", "few"),
        ("-s", "0"),
        ("-s", "forever"),
        ("-c", "-1"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--rate", "10", "-c", "2"),
        ("--rate", "10", "--delay", "1s"),
        ("--even",),
        ("--seed", "x"),
        ("--to", "poem"),
        ("-i", "-", "-i", "-"),
    ):
        moody.sire("bench", "m", *given, *wrong, code=2)
    moody.sire("bench", "m", code=2)
    moody.sire("bench", "m", "-i", "missing.json", code=3)
    assert b"nobody" in moody.sire("bench", "m", "nobody", *given, code=3).stderr
    assert answered(moody) == before
