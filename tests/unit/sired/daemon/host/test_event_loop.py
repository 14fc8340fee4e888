"""The daemon's loop misses nothing while it stays awake, and goes to sleep again."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from sired.daemon.host.event_loop import busy_polling_loop

Pipe = tuple[int, int]
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Run:
    def _run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=busy_polling_loop) as runner:
            return runner.run(work)

    return _run


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def read_back_and_forth(pipe: Pipe, count: int) -> bytearray:
    """Write a byte whenever one has been read: as many short waits in a row."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    reader, writer = pipe
    seen = bytearray()

    def read() -> None:
        seen.extend(os.read(reader, 1))
        if len(seen) == count:
            loop.remove_reader(reader)
            done.set()
        else:
            os.write(writer, bytes([len(seen) % 256]))

    loop.add_reader(reader, read)
    os.write(writer, b"\0")
    await done.wait()
    return seen


def test_everything_that_comes_in_short_order_is_taken_in_its_order(run: Run, pipe: Pipe) -> None:
    assert run(read_back_and_forth(pipe, 1000)) == bytes(n % 256 for n in range(1000))


def test_timers_go_off_in_their_order_between_events(run: Run, pipe: Pipe) -> None:
    async def work() -> Any:
        rung: list[int] = []
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in (3, 1, 2):
            loop.call_at(start + number * 1e-4, rung.append, number)
        await read_back_and_forth(pipe, 100)
        while len(rung) < 3:  # noqa: ASYNC110 (timers are what is tested)
            await asyncio.sleep(1e-4)
        return rung

    assert run(work()) == [1, 2, 3]


def test_a_loop_that_has_nothing_more_to_do_sleeps(run: Run, pipe: Pipe) -> None:
    async def work() -> Any:
        await read_back_and_forth(pipe, 100)
        began, computed = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.2)
        return (time.process_time() - computed) / (time.perf_counter() - began)

    assert run(work()) < 0.5
