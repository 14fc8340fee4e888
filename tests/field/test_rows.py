"""Tables: as many answers as rows, whatever the first row looks like."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.home import Home


def test_a_row_is_answered_or_named(home: Home, echo: Callable[..., Any], tmp_path: Path) -> None:
    table = tmp_path / "t.csv"

    def refused(text: str, *options: Any) -> str:
        table.write_text(text)
        return home.sire("predict", "echo", "-i", table, *options, code=10).stderr.decode()

    def answered(text: str, *options: str) -> Any:
        table.write_text(text)
        return echo("-i", table, *options)

    assert "Line 1, column 1" in refused("NA,NA\n1,2\n3,4\n")
    assert "Line 1, column 1" in refused(",\n1,2\n3,4\n")
    assert "'1_000'" in refused("1_000,2\n")
    assert "--header yes" in refused("0,1\n5.5,6.5\n")
    assert answered("0,1\n5.5,6.5\n", "--header", "yes") == [[5.5, 6.5]]
    assert answered("0,1\n5.5,6.5\n", "--header", "no") == [[0, 1], [5.5, 6.5]]
    assert answered("a,b\n5.5,6.5\n") == [[5.5, 6.5]]
    assert answered("1\t2\n3\t4\n") == [[1, 2], [3, 4]]
    home.sire("predict", "echo", "-i", table, "--header", "maybe", code=2)
    (tmp_path / "t.json").write_text("[1]")
    home.sire("predict", "echo", "-i", tmp_path / "t.json", "--header", "yes", code=2)


def test_each_line_of_json_is_a_request(
    home: Home, echo: Callable[..., Any], tmp_path: Path
) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text('[1.5]\n\n{"a": 2}\r\n"three"\n')
    answer = home.sire("predict", "echo", "-i", lines).stdout
    assert [json.loads(line) for line in answer.splitlines()] == [[1.5], {"a": 2}, "three"]
    home.sire("predict", "echo", "-i", lines, "-o", f"{tmp_path}/out/")
    names = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert names == {"in-1.json": "[1.5]\n", "in-3.json": '{"a":2}\n', "in-4.json": '"three"\n'}
    piped = home.sire("predict", "echo", "-i", "-", "--from", "jsonl", stdin=b"[1]\n[2]\n").stdout
    assert piped == b"[1]\n[2]\n"
    jobs = home.sire("submit", "echo", "-i", lines).stdout.decode().split()
    home.sire("job", "wait", *jobs)
    results = [json.loads(home.sire("job", "result", job).stdout) for job in jobs]
    assert results == [[1.5], {"a": 2}, "three"]


def test_a_bad_line_is_named(home: Home, echo: Callable[..., Any], tmp_path: Path) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text("[1]\n[1, \n")
    error = home.sire("predict", "echo", "-i", lines, code=10).stderr.decode()
    assert f"{lines}:2: The input is not valid JSON" in error
    lines.write_text("\n \n")
    assert "is empty" in home.sire("predict", "echo", "-i", lines, code=10).stderr.decode()


def test_byte_order_marks_are_no_part_of_the_input(
    home: Home, told: Callable[..., Any], tmp_path: Path
) -> None:
    for name, content, expected in (
        ("t.csv", b"\xef\xbb\xbf1,2\n", "array([[1, 2]])"),
        ("t.txt", b"\xef\xbb\xbfhello\n", "'hello'"),
        ("t.json", b"\xef\xbb\xbf[1.5]", "array([1.5])"),
    ):
        (tmp_path / name).write_bytes(content)
        assert told("-i", tmp_path / name)["repr"] == expected
    marked = b"\xef\xbb\xbf[1.5]"
    assert told("-i", "-", stdin=marked)["repr"] == "array([1.5])"
