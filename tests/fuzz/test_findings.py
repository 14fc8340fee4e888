"""What was found with these fuzzers, one test for each, named for what it was."""

import array
import asyncio
import fcntl
import io
import json
import os
import socket
import struct
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from sire.errors import (
    InferenceError,
    InvalidConfiguration,
    InvalidInput,
    InvalidModel,
    ProtocolError,
)
from sire.options.derived import check_values
from sire.protocol import content
from sire.protocol.content import Payload
from sire.protocol.direct import OpenDirect
from sire.protocol.framing import decode_request, failure, preamble
from sire.protocol.framing import encode as write
from sire.protocol.requests import Predict, Register
from sire.spec import ImageOptions, ModelSpec, Signature, TensorSpec
from sire.tensors import pack
from sire.transport.channel import Channel
from sired.codecs import decode, encode
from sired.config import load_settings
from sired.gateway.generation.program import completions
from sired.gateway.oip.body import read_request
from sired.gateway.oip.inference import prediction
from sired.http.client import is_error
from sired.store.model_file import from_toml
from sired.store.registry import Registry
from sired.workers.messages import ToWorker
from tests.fuzz.draw import nested


def read(kind: str, data: bytes, largest: int = 64 << 20) -> Any:
    return decode(Payload(kind, (data,)), Signature(), ImageOptions(), largest)


# Files of the registry


@pytest.mark.parametrize(
    "line",
    [
        "batch_size = " + "9" * 5_000,
        "args = " + "[" * 3_000,
        'args = "' + "[" * 9_000 + '"',
        "signature = {a = 1}",
        'instances = "' + "9" * 5_000 + '"',
    ],
    ids=["digits", "brackets", "JSON", "signature", "instances"],
)
def test_a_file_of_the_registry_that_no_parser_takes_kept_the_daemon_from_starting(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "m.toml").write_text(f'path = "/m"\n{line}\n')
    registry = Registry(tmp_path)
    registry.load()
    assert list(registry.damaged) == ["m.toml"]
    assert len(registry.damaged["m.toml"]) < 2_000


@pytest.mark.parametrize(
    "line", ['max_memory = "99999999999TiB"', "args = {a = 99999999999999999999}"]
)
def test_a_number_that_no_message_holds_broke_every_list_of_models(line: str) -> None:
    with pytest.raises(InvalidModel, match="size|64 bits"):
        from_toml("m", f'path = "/m"\n{line}\n')


@pytest.mark.parametrize(
    "line",
    [
        *("weight = 0", "weight = nan", "weight = inf", "batch_size = 0", "batch_delay = inf"),
        *("concurrency = -1", "weight_bytes = -1", "keep_alive = -1", "keep_alive = nan"),
        'instances = "1..99999999999"',
    ],
)
def test_what_a_client_could_not_say_of_a_model_its_file_could(line: str) -> None:
    with pytest.raises(InvalidModel):
        from_toml("m", f'path = "/m"\n{line}\n')


def test_arguments_nested_without_end_exhausted_the_stack() -> None:
    deep = json.loads("[" * 500 + "]" * 500)
    with pytest.raises(InvalidModel, match="deeper than 32"):
        check_values(ModelSpec("m", "/m", args={"a": deep}))


def test_rows_of_unequal_length_among_several_inputs_broke_the_check_of_their_number() -> None:
    inputs = (TensorSpec("x", "float32", (-1, 2)), TensorSpec("y", "float32", (-1, 2)))
    ragged = Payload(content.JSON, (b"[[[1, 2], [3]], [[1, 2]]]",))
    with pytest.raises(InvalidInput):
        decode(ragged, Signature(inputs), ImageOptions(), 1 << 20)


# Configuration


def test_an_empty_device_was_accepted_and_meant_none() -> None:
    with pytest.raises(InvalidConfiguration, match=r"defaults\.device.*the name is empty"):
        load_settings(Path(os.devnull), {}, {"defaults.device": ""})


def test_a_range_of_cores_took_all_memory() -> None:
    with pytest.raises(InvalidConfiguration, match="is not a core"):
        load_settings(Path(os.devnull), {}, {"devices.cpu.cores": "0-99999999999999"})


@pytest.mark.parametrize("value", ["99999999999TiB", "9" * 25, "1e30"])
@pytest.mark.parametrize("key", ["daemon.max_message", "jobs.keep_bytes", "jobs.keep_count"])
def test_a_number_beyond_64_bits_ended_the_daemon_with_a_traceback(key: str, value: str) -> None:
    with pytest.raises(InvalidConfiguration, match=key):
        load_settings(Path(os.devnull), {}, {key: value})


@pytest.mark.parametrize("text", ["x = " + "9" * 5_000, "x = " + "[" * 3_000])
def test_a_configuration_that_no_parser_takes_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        load_settings(tmp_path / "config.toml", {}, {})


# Messages


@pytest.mark.parametrize("seconds", [float("nan"), -1.0])
@pytest.mark.parametrize("key", ["timeout", "keep_alive"])
def test_a_duration_that_is_none_got_into_the_order_of_deadlines(key: str, seconds: float) -> None:
    header = msgspec.msgpack.encode({"op": "predict", "model": "m", key: seconds})
    with pytest.raises(ProtocolError, match=key):
        decode_request(header)
    endless = Predict(model="m", timeout=float("inf"))
    assert decode_request(write(endless)) == endless


@pytest.mark.parametrize("limit", [-1, 2**63])
def test_a_number_of_jobs_that_the_database_cannot_count_was_asked_of_it(limit: int) -> None:
    header = msgspec.msgpack.encode({"op": "list_jobs", "limit": limit})
    with pytest.raises(ProtocolError, match="limit"):
        decode_request(header)


def test_a_refusal_was_as_long_as_what_it_refused() -> None:
    header = msgspec.msgpack.encode({"op": "health", "v": "x" * 500_000})
    with pytest.raises(ProtocolError) as caught:
        decode_request(header)
    assert len(write(failure(caught.value, preamble(header).id))) < 1_000


def test_what_is_wrong_with_a_header_without_a_version_was_said_to_be_its_version() -> None:
    with pytest.raises(ProtocolError, match=r"Expected `str`, got `int` - at `\$.name`"):
        decode_request(msgspec.msgpack.encode({"op": "show", "name": 7}))


# Private lines


@pytest.fixture(params=[ToWorker, OpenDirect], ids=["worker", "door"])
def line(request: pytest.FixtureRequest) -> Iterator[tuple[Channel[Any], socket.socket]]:
    """A channel and the bare socket at its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[Any] = Channel(ours, request.param, largest=1 << 40)
    yield channel, theirs
    channel.close()
    theirs.close()


@pytest.mark.parametrize(
    ("header", "count"), [(1, 1 << 31), (1 << 33, 0)], ids=["frames", "header"]
)
def test_memory_that_costs_its_sender_nothing_cost_its_receiver_all_it_had(
    line: tuple[Channel[Any], socket.socket], header: int, count: int
) -> None:
    channel, peer = line
    size = 1 << 35
    descriptor = os.memfd_create("none", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    peer.sendmsg([struct.pack("<QQIB", size, header, count, 1)], passed)
    os.close(descriptor)
    with pytest.raises(ProtocolError, match="the limits are"):
        channel.try_receive()


def test_a_request_over_a_direct_connection_may_be_as_large_as_one_over_the_socket() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender: Channel[ToWorker] = Channel(theirs, ToWorker)
    channel: Channel[ToWorker] = Channel(ours, ToWorker, largest=1000)
    sender.send(OpenDirect("m", 1), [bytes(1001)])
    with pytest.raises(ProtocolError, match="1000"):
        channel.try_receive()
    sender.close()
    channel.close()


# Inputs


def npy(descr: str, shape: tuple[Any, ...], body: bytes = b"") -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (npy("<U0", (3,)), "are not supported"),
        (npy("<U1", (1,), b"\xff\xff\xff\xff"), "invalid code points"),
        (npy("<f4", (-2, -2), bytes(16)), "negative length"),
        (npy("<f4", (0, 1 << 62)), "too many rows"),
        (npy("<f4", (1,) * 70, bytes(4)), "shape is not valid|cannot be read"),
        (npy("f4,f4", (1,), bytes(8)), "are not supported|cannot be read"),
        (npy("<M8[s]", (1,), bytes(8)), "are not supported"),
    ],
    ids=["no size", "characters", "negative axes", "empty", "axes", "records", "times"],
)
def test_an_npy_header_that_reads_well_and_lies_was_an_unexpected_error(
    data: bytes, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=f"(?i){expected}"):
        read(content.NPY, data)


def test_an_npz_whose_entries_lie_before_its_beginning_was_an_unexpected_error() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.ones(3))
    data = bytearray(buffer.getvalue())
    end = data.rindex(b"PK\x05\x06")
    data[end + 16 : end + 20] = struct.pack("<I", 0xFFFF)
    with pytest.raises(InvalidInput, match="cannot be read as npz"):
        read(content.NPZ, bytes(data))


def test_an_npz_that_unpacks_to_far_more_is_refused_before_it_does() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, np.zeros(16 << 20, np.uint8))
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(
        InvalidInput, match=r"takes 16 MiB once it is decoded, which exceeds the limit of 8 MiB"
    ) as caught:
        read(content.NPZ, buffer.getvalue(), largest=8 << 20)
    assert "max_decoded" in caught.value.hint
    assert len(read(content.NPZ, buffer.getvalue())[0]) == 16 << 20


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_claims_to_be_huge_is_refused_by_its_header(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("L", (2000, 2000)).save(buffer, kind)
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(InvalidInput, match="once it is decoded"):
        read(f"image/{kind.lower()}", buffer.getvalue(), largest=8 << 20)
    huge = buffer.getvalue().replace(struct.pack(">II", 2000, 2000), struct.pack(">II", 1 << 30, 9))
    huge = huge.replace(struct.pack(">HH", 2000, 2000), b"\xff\xff\xff\xff")
    began = time.process_time()
    with pytest.raises(InvalidInput):
        read(f"image/{kind.lower()}", huge)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [(content.JSON, b"[" + b"[]," * 100_000 + b"[]]"), (content.CSV, b"1,2\n" * 100_000)],
    ids=["json", "csv"],
)
def test_text_that_takes_twenty_times_its_size_is_counted_as_such(kind: str, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="once it is decoded"):
        read(kind, data, largest=4 << 20)


def test_samples_of_forty_bits_were_an_unexpected_error() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 4, 8000, 0, "NONE", ""))
        file.writeframes(bytes(40))
    forty = buffer.getvalue().replace(struct.pack("<H", 32), struct.pack("<H", 40), 1)
    with pytest.raises(InvalidInput, match="cannot be read as WAV"):
        read(content.WAV, forty)


def test_a_time_in_a_tree_got_to_the_model() -> None:
    tree = msgspec.msgpack.encode({"at": msgspec.msgpack.Ext(-1, bytes(8))})
    with pytest.raises(InvalidInput, match="datetime, which models cannot take"):
        read(content.TREE, tree)


def test_a_list_of_arrays_from_a_python_client_was_an_unexpected_error() -> None:
    sent = [np.ones(9), np.zeros((2, 3))]
    received = decode(pack(sent), Signature(), ImageOptions())
    assert [array.shape for array in received] == [(9,), (2, 3)]


def test_an_answer_nested_deeper_than_numpy_walks_was_an_unexpected_error() -> None:
    deep: object = {"a": None}
    for _ in range(36):
        deep = [deep]
    with pytest.raises(InvalidInput, match="not an array"):
        encode(deep, content.NPY)


def test_an_array_without_numbers_was_written_as_billions_of_empty_lists() -> None:
    payload = Payload(content.TENSORS, (b"",), pack(np.ones((0, 3))).tensors)
    assert encode(decode(payload, Signature(), ImageOptions()), content.JSON).frames[0] == b"[]"
    (spec,) = payload.tensors
    many = msgspec.structs.replace(spec, shape=(1 << 31, 0))
    with pytest.raises(InvalidInput, match="too many rows"):
        decode(Payload(content.TENSORS, (b"",), (many,)), Signature(), ImageOptions())


def test_a_model_of_a_client_with_a_number_too_large_is_refused() -> None:
    spec = ModelSpec("m", "/m", max_memory=2**64 - 1)
    assert decode_request(write(Register(model=spec))) == Register(model=spec)
    with pytest.raises(InvalidModel, match="is not a size"):
        check_values(spec)


def test_an_event_of_a_program_that_is_nested_without_end_was_no_error_of_the_program() -> None:
    deep = b"[" * 100_000
    assert not is_error(deep)

    async def read() -> None:
        async def lines() -> AsyncIterator[bytes]:
            yield b'data: {"x": ' + deep + b"\n"

        async for _ in completions(lines(), "m"):
            pass

    with pytest.raises(InferenceError, match="did not answer as OpenAI's API does"):
        asyncio.run(read())


def test_an_input_without_a_name_was_taken_for_one_that_the_model_has() -> None:
    body = b'{"inputs":[{"name":"","shape":[1],"datatype":"FP32","data":[1]}]}'
    request, contents = read_request(body, None)
    named = Signature(inputs=(TensorSpec("x", "float32", (1,)),))
    with pytest.raises(InvalidInput, match="has no input ''"):
        prediction("m", request, contents, named)


def test_whole_numbers_below_forty_axes_were_too_many_axes_for_numpy() -> None:
    one = {"name": "x", "shape": [1] * 40, "datatype": "INT8", "data": nested(40)}
    request, contents = read_request(json.dumps({"inputs": [one]}).encode(), None)
    assert prediction("m", request, contents, Signature())[1]


def test_a_length_of_five_thousand_digits_was_no_number() -> None:
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length"):
        read_request(b"{}", "0" * 5000 + "2")
