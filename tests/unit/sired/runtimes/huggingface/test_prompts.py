"""Where a text ends that is to end before a stop."""

import pytest

from sired.runtimes.huggingface.prompts import until_stop


@pytest.mark.parametrize(
    ("parts", "stops", "text", "found"),
    [
        (["a b ", "c d"], ("c",), "a b ", True),
        (["a b", "c", "d e"], ("bcd",), "a ", True),
        (["a b", "c", "x e"], ("bcd",), "a bcx e", False),
        (["aab", "ab"], ("abab",), "a", True),
        (["one two"], ("two", "one"), "", True),
        (["one"], (), "one", False),
        (["one"], ("",), "one", False),
        (["one END"], ("END.",), "one END", False),
    ],
)
def test_a_stop_is_found_across_parts(
    parts: list[str], stops: tuple[str, ...], text: str, found: bool
) -> None:
    stream = until_stop(parts, stops)
    given = []
    while True:
        try:
            given.append(next(stream))
        except StopIteration as end:
            assert ("".join(given), end.value) == (text, found)
            return


def test_only_what_may_begin_a_stop_is_held_back() -> None:
    assert next(until_stop(iter(["some EN", "D"]), ("END",))) == "some "
