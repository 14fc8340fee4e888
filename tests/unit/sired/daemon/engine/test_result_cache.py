"""Which answers are kept, for which questions, and for how long."""

import pytest

from sire.protocol.content import Buffer
from sire.protocol.requests import Predict
from sire.spec import ModelSpec, TensorSpec
from sired.daemon.engine.result_cache import LARGEST_REQUEST, CachedAnswer, CacheKey, ResultCache

KIB = 1024
A = Predict(model="a")


def spec(name: str = "a", *, cached: bool = True) -> ModelSpec:
    return ModelSpec(name=name, path="/a", cached=cached)


def answer(text: Buffer = b"1") -> CachedAnswer:
    return CachedAnswer("application/json", (), (text,))


def key_of(cache: ResultCache, predict: Predict, payload: tuple[Buffer, ...]) -> CacheKey:
    key = cache.key(predict, payload)
    assert key is not None
    return key


@pytest.fixture
def cache() -> ResultCache:
    cache = ResultCache(100 * KIB)
    cache.renew(spec())
    return cache


def test_the_same_question_finds_the_answer_it_was_given(cache: ResultCache) -> None:
    cache.keep(key_of(cache, A, (b"x",)), answer(b"42"))
    assert cache.find(key_of(cache, A, (memoryview(bytearray(b"x")),))) == answer(b"42")


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
    cache: ResultCache, predict: Predict, payload: tuple[bytes, ...]
) -> None:
    cache.keep(key_of(cache, A, (b"x",)), answer())
    assert cache.find(key_of(cache, predict, payload)) is None


def test_how_long_one_would_wait_does_not_make_it_another_question(cache: ResultCache) -> None:
    hurried = Predict(model="a", id="other", timeout=0.5)
    assert key_of(cache, hurried, (b"x",)) == key_of(cache, A, (b"x",))


def test_models_do_not_share_answers(cache: ResultCache) -> None:
    cache.renew(spec("b"))
    cache.keep(key_of(cache, A, (b"x",)), answer())
    assert cache.find(key_of(cache, Predict(model="b"), (b"x",))) is None


def test_no_question_is_looked_up_for_a_model_that_is_not_cached(cache: ResultCache) -> None:
    cache.renew(spec("plain", cached=False))
    assert cache.key(Predict(model="plain"), (b"x",)) is None


def test_a_question_that_takes_long_to_digest_is_not_looked_up(cache: ResultCache) -> None:
    assert cache.key(A, (bytes(LARGEST_REQUEST + 1),)) is None


def test_what_was_unused_for_longest_goes_first(cache: ResultCache) -> None:
    questions = [key_of(cache, A, (bytes([n]),)) for n in range(4)]
    for question in questions[:3]:
        cache.keep(question, answer(bytes(32 * KIB)))
    cache.find(questions[0])
    cache.keep(questions[3], answer(bytes(32 * KIB)))
    assert [cache.find(q) is not None for q in questions] == [True, False, True, True]
    assert cache.held == cache.held_by("a") == 3 * answer(bytes(32 * KIB)).size <= 100 * KIB


def test_small_answers_are_bounded_too(cache: ResultCache) -> None:
    for n in range(1000):
        cache.keep(key_of(cache, A, (str(n).encode(),)), answer())
    kept = [n for n in range(1000) if cache.find(key_of(cache, A, (str(n).encode(),)))]
    assert kept == list(range(1000 - len(kept), 1000))
    assert 90 <= len(kept) <= 100


def test_an_answer_larger_than_the_cache_drives_nothing_out(cache: ResultCache) -> None:
    small, large = key_of(cache, A, (b"s",)), key_of(cache, A, (b"l",))
    cache.keep(small, answer())
    cache.keep(large, answer(bytes(100 * KIB)))
    assert cache.find(small)
    assert not cache.find(large)


def test_an_answer_given_twice_is_held_once(cache: ResultCache) -> None:
    for _ in range(2):
        cache.keep(key_of(cache, A, (b"x",)), answer())
    assert cache.held == answer().size


def test_a_model_registered_anew_begins_without_answers(cache: ResultCache) -> None:
    cache.keep(key_of(cache, A, (b"x",)), answer())
    cache.renew(spec())
    assert cache.find(key_of(cache, A, (b"x",))) is None
    assert cache.held == 0


def test_what_the_old_model_still_computed_is_not_kept_for_the_new_one(cache: ResultCache) -> None:
    asked = key_of(cache, A, (b"x",))
    cache.renew(spec())
    cache.keep(asked, answer())
    assert cache.find(key_of(cache, A, (b"x",))) is None
    assert cache.held == 0


def test_a_model_that_is_gone_leaves_nothing(cache: ResultCache) -> None:
    asked = key_of(cache, A, (b"x",))
    cache.keep(asked, answer())
    cache.drop("a")
    assert cache.held == cache.held_by("a") == 0
    assert cache.key(A, (b"x",)) is None


def test_a_cache_made_smaller_lets_go_and_one_of_no_size_looks_nothing_up(
    cache: ResultCache,
) -> None:
    for n in range(10):
        cache.keep(key_of(cache, A, (bytes([n]),)), answer())
    cache.resize(3 * answer().size)
    assert cache.held == 3 * answer().size
    cache.resize(0)
    assert cache.held == 0
    assert cache.key(A, (b"x",)) is None


def test_an_answer_in_shared_memory_is_copied(cache: ResultCache) -> None:
    shared = bytearray(b"1")
    question = key_of(cache, A, (b"x",))
    cache.keep(question, answer(memoryview(shared)))
    shared[:] = b"2"
    found = cache.find(question)
    assert found is not None
    assert found.frames == (b"1",)
