"""Converts between a server's HTTP responses and data or errors."""

import contextlib
from collections.abc import Generator, Iterable
from typing import Any

import msgspec
import numpy as np
import orjson

from sire.errors import InferenceError, InvalidInput, QueueFull, SireError
from sire.protocol.content import JSON, TEXT, Payload
from sired.http.client import HttpResponse
from sired.runtimes.out_of_memory import is_out_of_memory

_TOO_MANY = 429
_NO_SUCH_PATH = {404, 405}


def error_of(response: HttpResponse, not_found_hint: str) -> Exception:
    """The error that an unsuccessful response stands for.

    Args:
        response: of the server.
        not_found_hint: what to do if the server does not know the path or model.
    """
    message = f"The server answered {response.status}: {response.message()}"
    if response.status == _TOO_MANY:
        return QueueFull(message, hint="Try again later.")
    if response.status in _NO_SUCH_PATH:
        return InvalidInput(message, hint=not_found_hint)
    if 400 <= response.status < 500:
        return InvalidInput(message)
    failure: SireError = InferenceError(message)
    return MemoryError(message) if is_out_of_memory(failure) else failure


def to_json(data: Any) -> bytes:
    """Data as JSON; arrays become lists.

    Raises:
        InvalidInput: JSON cannot represent it.
    """
    try:
        return orjson.dumps(_plain(data), option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as problem:
        raise InvalidInput(f"The input cannot be sent as JSON: {problem}.") from None


def data_of(response: HttpResponse) -> Any:
    """The JSON of a response as data, lists of numbers as arrays; other bodies as text."""
    try:
        return _arrays(msgspec.json.decode(response.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return response.body.decode(errors="replace")


def stream_payloads(
    responses: Iterable[HttpResponse], accept: str
) -> Generator[Payload, None, None]:
    """The parts of a streamed response as payloads; if ``accept`` is text, only their text."""
    for response in responses:
        if accept != TEXT or response.content_type != JSON:
            yield response.payload()
        elif text := _text_of(response):
            yield Payload(TEXT, (text.encode(errors="replace"),))


def _text_of(response: HttpResponse) -> str:
    """The text in one event of a stream, in the fields that common servers use."""
    event = msgspec.json.decode(response.body)
    if not isinstance(event, dict):
        return event if isinstance(event, str) else response.body.decode()
    choices = event.get("choices")
    holders = [choices[0].get("delta"), choices[0]] if choices else []  # OpenAI, vLLM, llama.cpp
    holders += [event.get("token"), event.get("message"), event]  # TGI, Ollama, others
    for holder in holders:
        for name in ("content", "text", "response") if isinstance(holder, dict) else ():
            if isinstance(text := holder.get(name), str):
                return text
    return ""


def _plain(value: Any) -> Any:
    """The data in types that orjson encodes: contiguous arrays in native byte order."""
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
    """The data with lists of numbers, at any depth, as arrays."""
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if not isinstance(value, list) or not value:
        return value
    with contextlib.suppress(ValueError, OverflowError):
        array = np.array(value)
        if array.dtype.kind in "biuf":
            return array
    return [_arrays(item) for item in value]
