"""Which answers are kept, for which questions, and for how long."""

from pathlib import Path
from typing import Any

import pytest

from sire.protocol.content import Payload
from sire.protocol.requests import Predict
from sire.spec import ModelSpec, TensorSpec
from sired.daemon.engine.result_cache import LARGEST_REQUEST, CachedAnswer, ResultCache

KIB = 1024
A = Predict(model="a")


def spec(name: str = "a", *, cached: bool = True) -> Any:
    return ModelSpec(name=name, path="/a", cached=cached)


def answer(text: bytes = b"1") -> Any:
    return CachedAnswer("application/json", (), (text,))


@pytest.fixture
def cache() -> Any:
    cache = ResultCache(100 * KIB)
    cache.renew(spec())
    return cache


def test_the_same_question_finds_the_answer_it_was_given(cache: Path) -> None:
    cache.keep(cache.key(A, (b"x",)), answer(b"42"))
    assert cache.find(cache.key(A, (memoryview(bytearray(b"x")),))) == answer(b"42")


@pytest.mark.parametrize(
    ("predict", "payload"),
    [
        (A, (b"y",)),
        (A, (b"x", b"")),
        (A, (b"", b"x")),
        (Predict(model="a", content_type="text/plain"), (b"x",)),
        (Predict(model="a", accept="text/csv"), (b"x",)),
        (Predict(model="a", tensors=(TensorSpec("", "int8", (1,)),)), (b"x",)),
    ],
)
def test_a_question_that_differs_in_anything_is_another_one(
    cache: Path, predict: Any, payload: Payload
) -> None:
    cache.keep(cache.key(A, (b"x",)), answer())
    assert cache.find(cache.key(predict, payload)) is None


def test_how_long_one_would_wait_does_not_make_it_another_question(cache: Path) -> None:
    hurried = Predict(model="a", id="other", timeout=0.5)
    assert cache.key(hurried, (b"x",)) == cache.key(A, (b"x",))


def test_models_do_not_share_answers(cache: Path) -> None:
    cache.renew(spec("b"))
    cache.keep(cache.key(A, (b"x",)), answer())
    assert cache.find(cache.key(Predict(model="b"), (b"x",))) is None


def test_no_question_is_looked_up_for_a_model_that_is_not_cached(cache: Path) -> None:
    cache.renew(spec("plain", cached=False))
    assert cache.key(Predict(model="plain"), (b"x",)) is None


def test_a_question_that_takes_long_to_digest_is_not_looked_up(cache: Path) -> None:
    assert cache.key(A, (bytes(LARGEST_REQUEST + 1),)) is None


def test_what_was_unused_for_longest_goes_first(cache: Path) -> None:
    questions = [cache.key(A, (bytes([n]),)) for n in range(4)]
    for question in questions[:3]:
        cache.keep(question, answer(bytes(32 * KIB)))
    cache.find(questions[0])
    cache.keep(questions[3], answer(bytes(32 * KIB)))
    assert [cache.find(q) is not None for q in questions] == [True, False, True, True]
    assert cache.held == cache.held_by("a") == 3 * answer(bytes(32 * KIB)).size <= 100 * KIB


def test_small_answers_are_bounded_too(cache: Path) -> None:
    for n in range(1000):
        cache.keep(cache.key(A, (str(n).encode(),)), answer())
    kept = [n for n in range(1000) if cache.find(cache.key(A, (str(n).encode(),)))]
    assert kept == list(range(1000 - len(kept), 1000))
    assert 90 <= len(kept) <= 100


def test_an_answer_larger_than_the_cache_drives_nothing_out(cache: Path) -> None:
    small, large = cache.key(A, (b"s",)), cache.key(A, (b"l",))
    cache.keep(small, answer())
    cache.keep(large, answer(bytes(100 * KIB)))
    assert cache.find(small)
    assert not cache.find(large)


def test_an_answer_given_twice_is_held_once(cache: Path) -> None:
    for _ in range(2):
        cache.keep(cache.key(A, (b"x",)), answer())
    assert cache.held == answer().size


def test_a_model_registered_anew_begins_without_answers(cache: Path) -> None:
    cache.keep(cache.key(A, (b"x",)), answer())
    cache.renew(spec())
    assert cache.find(cache.key(A, (b"x",))) is None
    assert cache.held == 0


def test_what_the_old_model_still_computed_is_not_kept_for_the_new_one(cache: Path) -> None:
    asked = cache.key(A, (b"x",))
    cache.renew(spec())
    cache.keep(asked, answer())
    assert cache.find(cache.key(A, (b"x",))) is None
    assert cache.held == 0


def test_a_model_that_is_gone_leaves_nothing(cache: Path) -> None:
    asked = cache.key(A, (b"x",))
    cache.keep(asked, answer())
    cache.drop("a")
    assert cache.held == cache.held_by("a") == 0
    assert cache.key(A, (b"x",)) is None


def test_a_cache_made_smaller_lets_go_and_one_of_no_size_looks_nothing_up(cache: Path) -> None:
    for n in range(10):
        cache.keep(cache.key(A, (bytes([n]),)), answer())
    cache.resize(3 * answer().size)
    assert cache.held == 3 * answer().size
    cache.resize(0)
    assert cache.held == 0
    assert cache.key(A, (b"x",)) is None


def test_an_answer_in_shared_memory_is_copied(cache: Path) -> None:
    shared = bytearray(b"1")
    question = cache.key(A, (b"x",))
    cache.keep(question, answer(memoryview(shared)))
    shared[:] = b"2"
    assert cache.find(question).frames == (b"1",)
