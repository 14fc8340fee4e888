"""The differences of counts, minute by minute, and a file that fails."""

import asyncio

import pytest

from sired.config.settings import HistorySettings
from sired.daemon.telemetry.counters import AllCounters
from sired.daemon.telemetry.history_recorder import HistoryRecorder


class Kept:
    """A historian, and what it is told."""

    def __init__(self, loop, path, **settings):
        self.statistics, self.memory = AllCounters(), {}
        self.historian = HistoryRecorder(
            loop, path, self.statistics, lambda: self.memory, HistorySettings(**settings)
        )

    def answer(self, model, *latencies):
        for latency in latencies:
            self.statistics.of(model).answered(latency, 0.0, latency, "cpu", 0.0)

    async def read(self, model=None):
        _, found = await self.historian.read(3600.0, 300, model)
        return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.db"


@pytest.fixture
def in_loop(path):
    """Run a test with a historian inside an event loop."""

    def run(test, **settings):
        async def body():
            kept = Kept(asyncio.get_running_loop(), path, **settings)
            await test(kept)
            kept.historian.close()

        asyncio.run(body())

    return run


def test_each_note_tells_what_is_new_since_the_last(in_loop):
    async def test(kept):
        kept.answer("a", *[0.1] * 99, 4.0)
        kept.statistics.of("a").loads["cpu"] += 1
        kept.memory = {"a": 7}
        kept.historian.note()
        (first,) = await kept.read()
        assert (first.answers, first.loads, first.memory) == (100, 1, 7)
        assert first.p50 == pytest.approx(0.1, rel=0.04)
        kept.historian._began += 60
        kept.answer("a", 0.01)
        kept.historian.note()
        _, second = await kept.read()
        assert (second.answers, second.loads) == (1, 0)
        assert second.p99 == pytest.approx(0.01, rel=0.04)

    in_loop(test)


def test_a_model_that_was_neither_used_nor_loaded_takes_no_row(in_loop):
    async def test(kept):
        kept.statistics.of("a")
        kept.historian.note()
        assert await kept.read() == []

    in_loop(test)


def test_keeping_nothing_writes_no_file(in_loop, path):
    async def test(kept):
        kept.answer("a", 0.1)
        kept.historian.note()

    in_loop(test, keep_for=0.0)
    assert not path.exists()


def test_a_damaged_file_is_begun_anew_beside_the_old_and_it_is_said(in_loop, path):
    path.write_bytes(b"no database" * 400)

    async def test(kept):
        kept.answer("a", 0.1)
        kept.historian.note()
        assert [minute.model for minute in await kept.read()] == ["a"]
        assert "damaged" in kept.historian.problems[0]
        assert str(path) in kept.historian.problems[0]

    in_loop(test)
    assert path.with_name("history.db.damaged").read_bytes() == b"no database" * 400


def test_a_file_that_cannot_be_written_is_said_until_it_can(in_loop, path):
    path.mkdir()

    async def test(kept):
        kept.answer("a", 0.1)
        kept.historian.note()
        with pytest.raises(OSError, match="directory"):
            await kept.read()
        assert "is not kept" in kept.historian.problems[0]
        path.rmdir()
        kept.answer("a", 0.1)
        kept.historian.note()
        assert len(await kept.read()) == 1
        assert kept.historian.problems == ()

    in_loop(test)
