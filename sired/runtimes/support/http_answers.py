"""What servers answer: their errors as ours, their JSON as data, and data as their JSON."""

import contextlib
from collections.abc import Generator, Iterable
from typing import Any

import msgspec
import numpy as np
import orjson

from sire.errors import InferenceError, InvalidInput, QueueFull, SireError
from sire.protocol.content import JSON, TEXT, Payload
from sired.http.client import HttpResponse
from sired.runtimes.base import is_out_of_memory

_TOO_MANY = 429
_NO_SUCH_PATH = {404, 405}


def error_of(answer: HttpResponse, not_there: str) -> Exception:
    """The error that an answer which is no success stands for.

    Args:
        answer: it.
        not_there: what to do if it says that there is no such thing.
    """
    said = f"The server answered {answer.status}: {answer.words()}"
    if answer.status == _TOO_MANY:
        return QueueFull(said, hint="Try again later.")
    if answer.status in _NO_SUCH_PATH:
        return InvalidInput(said, hint=not_there)
    if 400 <= answer.status < 500:
        return InvalidInput(said)
    failure: SireError = InferenceError(said)
    return MemoryError(said) if is_out_of_memory(failure) else failure


def to_json(data: Any) -> bytes:
    """Data as JSON; arrays become lists.

    Raises:
        InvalidInput: JSON does not have it.
    """
    try:
        return orjson.dumps(_plain(data), option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as problem:
        raise InvalidInput(f"The input cannot be sent as JSON: {problem}.") from None


def data_of(answer: HttpResponse) -> Any:
    """What the JSON of an answer says, lists of numbers as arrays; the text of any other."""
    try:
        return _arrays(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer.body.decode(errors="replace")


def in_parts(answers: Iterable[HttpResponse], accept: str) -> Generator[Payload, None, None]:
    """What a server streams, part by part; where text is wanted only what it says."""
    for answer in answers:
        if accept != TEXT or answer.content_type != JSON:
            yield answer.payload()
        elif said := _said(answer):
            yield Payload(TEXT, (said.encode(errors="replace"),))


def _said(answer: HttpResponse) -> str:
    """The text in one event of a stream, where those servers put it that are used most."""
    event = msgspec.json.decode(answer.body)
    if not isinstance(event, dict):
        return event if isinstance(event, str) else answer.body.decode()
    choices = event.get("choices")
    holders = [choices[0].get("delta"), choices[0]] if choices else []  # OpenAI's, vLLM, llama.cpp
    holders += [event.get("token"), event.get("message"), event]  # TGI, Ollama, and by itself
    for holder in holders:
        for name in ("content", "text", "response") if isinstance(holder, dict) else ():
            if isinstance(said := holder.get(name), str):
                return said
    return ""


def _plain(value: Any) -> Any:
    """The data as JSON has it: arrays in the machine's byte order and in one piece."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        simple = value.ndim and value.dtype.kind in "biuf" and value.dtype.isnative
        return np.ascontiguousarray(value) if simple else _plain(value.tolist())
    return value


def _arrays(value: Any) -> Any:
    """Lists of numbers, wherever they stand, as arrays."""
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if not isinstance(value, list) or not value:
        return value
    with contextlib.suppress(ValueError, OverflowError):
        array = np.array(value)
        if array.dtype.kind in "biuf":
            return array
    return [_arrays(item) for item in value]
