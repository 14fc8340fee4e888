"""The differences of counts, minute by minute, and a file that fails."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from sired.config.settings import HistorySettings
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.history_recorder import HistoryRecorder


class Kept:
    """A recorder, and the counters and memory it reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, **settings: Any) -> None:
        self.counters = AllCounters()
        self.memory: dict[str, int] = {}
        self.recorder = HistoryRecorder(
            loop, path, self.counters, lambda: self.memory, HistorySettings(**settings)
        )

    def answer(self, model: str, *latencies: float) -> None:
        for latency in latencies:
            self.counters.of(model).answered(latency, 0.0, latency, "cpu", 0.0)

    async def read(self, model: str | None = None) -> Any:
        _, found = await self.recorder.read(3600.0, 300, model)
        return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def in_loop(path: Path) -> Callable[..., None]:
    """Run a test with a recorder inside an event loop."""

    def run(test: Callable[[Kept], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def body() -> None:
            kept = Kept(asyncio.get_running_loop(), path, **settings)
            await test(kept)
            kept.recorder.close()

        asyncio.run(body())

    return run


def test_each_record_holds_what_is_new_since_the_last(in_loop: Callable[..., None]) -> None:
    async def test(kept: Kept) -> None:
        kept.answer("a", *[0.1] * 99, 4.0)
        kept.counters.of("a").loads["cpu"] += 1
        kept.memory = {"a": 7}
        kept.recorder.record()
        (first,) = await kept.read()
        assert (first.answers, first.loads, first.memory) == (100, 1, 7)
        assert first.p50 == pytest.approx(0.1, rel=0.04)
        kept.recorder._began += 60
        kept.answer("a", 0.01)
        kept.recorder.record()
        _, second = await kept.read()
        assert (second.answers, second.loads) == (1, 0)
        assert second.p99 == pytest.approx(0.01, rel=0.04)

    in_loop(test)


def test_a_model_that_was_neither_used_nor_loaded_takes_no_row(
    in_loop: Callable[..., None],
) -> None:
    async def test(kept: Kept) -> None:
        kept.counters.of("a")
        kept.recorder.record()
        assert await kept.read() == []

    in_loop(test)


def test_keeping_nothing_writes_no_file(in_loop: Callable[..., None], path: Path) -> None:
    async def test(kept: Kept) -> None:
        kept.answer("a", 0.1)
        kept.recorder.record()

    in_loop(test, keep_for=0.0)
    assert not path.exists()


def test_a_damaged_file_is_begun_anew_beside_the_old_and_it_is_said(
    in_loop: Callable[..., None], path: Path
) -> None:
    path.write_bytes(b"no database" * 400)

    async def test(kept: Kept) -> None:
        kept.answer("a", 0.1)
        kept.recorder.record()
        assert [minute.model for minute in await kept.read()] == ["a"]
        assert "damaged" in kept.recorder.problems[0]
        assert str(path) in kept.recorder.problems[0]

    in_loop(test)
    assert path.with_name("history.db.damaged").read_bytes() == b"no database" * 400


def test_a_file_that_cannot_be_written_is_said_until_it_can(
    in_loop: Callable[..., None], path: Path
) -> None:
    path.mkdir()

    async def test(kept: Kept) -> None:
        kept.answer("a", 0.1)
        kept.recorder.record()
        with pytest.raises(OSError, match="directory"):
            await kept.read()
        assert "cannot be written" in kept.recorder.problems[0]
        path.rmdir()  # noqa: ASYNC240 (nothing else runs in this loop)
        kept.answer("a", 0.1)
        kept.recorder.record()
        assert len(await kept.read()) == 1
        assert kept.recorder.problems == ()

    in_loop(test)
