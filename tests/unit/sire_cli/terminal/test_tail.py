"""Following a file that is written to, emptied, and put aside for another."""

from pathlib import Path

from sire_cli.terminal.tail import last_lines, new_lines


def test_following_goes_on_in_the_next_file_and_misses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "sired.log"
    log.write_text("old\n")
    lines = new_lines(log, 4)
    with log.open("a") as writer:
        writer.write("first\nsec")
        writer.flush()
        assert next(lines) == b"first\n"
        writer.write("ond\nlast\n")
    log.rename(tmp_path / "sired.log.1")
    log.write_text("next\n")
    assert [next(lines) for _ in range(3)] == [b"second\n", b"last\n", b"next\n"]


def test_following_begins_anew_where_the_file_was_emptied(tmp_path: Path) -> None:
    log = tmp_path / "m.log"
    log.write_text("a long line\n")
    lines = new_lines(log, 0)
    assert next(lines) == b"a long line\n"
    with log.open("w") as writer:
        writer.write("short\n")
    assert next(lines) == b"short\n"


def test_what_was_put_aside_comes_first(tmp_path: Path) -> None:
    log = tmp_path / "m.log"
    for name, text in (("m.log.2", "1\n"), ("m.log.1", "2\n"), ("m.log", "3\n")):
        (tmp_path / name).write_text(text)
    assert last_lines(log, 2) == [b"1\n", b"2\n", b"3\n"]
    assert last_lines(log, 2, 2) == [b"2\n", b"3\n"]
    assert last_lines(log, 0, 1) == [b"2\n"]
    assert last_lines(tmp_path / "none.log", 0) == []
