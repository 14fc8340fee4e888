"""A running daemon under a flood of frames, and what it says to those who go too far."""

import json
from collections.abc import Callable

import pytest
import zmq
from psutil import Process

from sire.client.connection import Connection
from sire.client.pipeline.base import PipelinedRequest
from sire.client.pipeline.opening import open_pipeline
from sire.errors import InvalidInput, InvalidModel, ModelNotFound
from sire.protocol.content import JSON, TENSORS
from sire.protocol.framing import decode_reply, encode
from sire.protocol.replies import Failure, InstanceList
from sire.protocol.requests import Health, Predict, Ps, Register, Show
from sire.spec import ModelSpec
from sired.server.front import MAX_FRAMES
from tests.fuzz.daemon import KEPT, flood_door, flood_front, flood_worker
from tests.home import Home
from tests.waiting import wait_until

MIB = 1 << 20
MOST_GROWTH = 8 * MIB


@pytest.fixture
def workers(connection: Connection) -> Callable[[], list[int | None]]:
    """Asks for the process ids of the workers of the model that stays loaded."""

    def ask() -> list[int | None]:
        instances = connection.expect(InstanceList, Ps()).instances
        return [one.pid for one in instances if one.model == KEPT]

    return ask


def predicts(connection: Connection) -> bool:
    _, frames = connection.ask(Predict(model=KEPT), [b"[1, 2, 3, 4]"])
    return bool(json.loads(bytes(frames[0])) == [2, 4, 6, 8])


def test_after_a_flood_of_frames_the_daemon_answers_and_has_not_grown(
    running: Home, connection: Connection, process: Process, workers: Callable[[], list[int | None]]
) -> None:
    there = workers()
    flood_front(running.paths, 3_000, seed=1)
    before = process.memory_info().rss
    flood = flood_front(running.paths, 20_000, seed=2)
    assert flood.sent == 20_000
    assert flood.refused > 10_000
    assert flood.unexpected == []
    assert process.memory_info().rss - before < MOST_GROWTH
    assert workers() == there
    assert predicts(connection)


def test_after_a_flood_at_the_door_nobody_is_held_up(
    running: Home, connection: Connection, process: Process, workers: Callable[[], list[int | None]]
) -> None:
    there, before = workers(), process.num_fds()
    answered = flood_door(running.paths, 1_000, seed=1)
    assert answered > 10
    assert predicts(connection)
    assert workers() == there
    wait_until(lambda: process.num_fds() < before + 20)


def test_who_talks_nonsense_to_a_worker_is_dropped_and_nobody_else(
    running: Home, connection: Connection, process: Process, workers: Callable[[], list[int | None]]
) -> None:
    there, before = workers(), process.memory_info().rss
    assert flood_worker(running.paths, 300, seed=1) > 250
    assert workers() == there
    assert predicts(connection)
    assert process.memory_info().rss - before < MOST_GROWTH


def test_a_message_too_large_was_taken_for_the_end_of_the_daemon(connection: Connection) -> None:
    with pytest.raises(InvalidInput, match=r"has 3145728 bytes; the limit is 2097152") as caught:
        connection.ask(Predict(model=KEPT), [b" " * (3 * MIB)])
    assert "max_message" in caught.value.hint
    assert predicts(connection)


def test_frames_too_large_together_are_refused(connection: Connection) -> None:
    with pytest.raises(InvalidInput, match=r"has 2600000 bytes; the limit is 2097152"):
        connection.ask(Predict(model=KEPT, content_type=TENSORS), [bytes(1_300_000)] * 2)


def test_one_input_too_large_does_not_fail_those_beside_it(connection: Connection) -> None:
    pipeline = open_pipeline(connection)
    small, large = (
        pipeline.send(PipelinedRequest(Predict(model=KEPT, content_type=JSON), [data]))
        for data in (b"[1, 1, 1, 1]", b" " * (3 * MIB))
    )
    while len(pipeline.answered()) < 2:
        pipeline.pump(1.0)
    assert isinstance(pipeline.pop(large), InvalidInput)
    answer = pipeline.pop(small)
    assert isinstance(answer, tuple)
    assert bytes(answer[1][0]) == b"[2.0,2.0,2.0,2.0]"
    pipeline.close()


def test_more_frames_than_any_message_has_are_refused(running: Home) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as line:
        line.linger, line.rcvtimeo = 0, 90_000
        line.connect(f"ipc://{running.paths.socket}")
        line.send_multipart([b"", encode(Health(id=1)), *[b""] * (MAX_FRAMES + 100)])
        reply = decode_reply(line.recv_multipart()[1])
        assert isinstance(reply, Failure)
        assert (reply.code, reply.id) == ("InvalidInput", 1)
        line.send_multipart([b"", encode(Health(id=2))])
        assert decode_reply(line.recv_multipart()[1]).id == 2


def test_a_worker_refuses_what_takes_too_much_once_it_is_decoded(connection: Connection) -> None:
    with pytest.raises(InvalidInput, match="once it is decoded, which exceeds the limit of 8 MiB"):
        connection.ask(Predict(model=KEPT), [b"[" + b"[]," * 200_000 + b"[]]"])


@pytest.mark.parametrize("path", ["/" + "x" * 300, "/" + "a/" * 5_000])
def test_a_path_too_long_for_any_file_was_an_unexpected_error(
    connection: Connection, path: str
) -> None:
    with pytest.raises(InvalidModel, match="File name too long"):
        connection.ask(Register(model=ModelSpec("m", path)))


def test_a_name_of_a_megabyte_was_compared_with_those_there_are(connection: Connection) -> None:
    with pytest.raises(ModelNotFound) as caught:
        connection.ask(Show(name="k" * 900_000))
    assert len(str(caught.value)) < 1_000
