"""``/v1/audio/transcriptions``: texts of recordings."""

from typing import Any, Literal

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.responses import PlainTextResponse, Response

from sire.errors import InvalidInput
from sire.protocol.content import JSON, UNKNOWN
from sire.protocol.requests import Predict
from sired.gateway.call import Call
from sired.gateway.errors import json_response
from sired.gateway.fields import Accepted, read_fields

_ACCEPTED = Accepted(
    neutral={
        "temperature": ("0", "0.0"),
        "stream": ("false", "False"),
        "chunking_strategy": ("auto",),
        "timestamp_granularities[]": ("segment",),
    }
)
_TIMED = frozenset({"verbose_json", "srt", "vtt"})


class TranscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the form besides the file."""

    model: str
    response_format: Literal["json", "text", "verbose_json", "srt", "vtt"] = "json"


class Chunk(msgspec.Struct, frozen=True):
    """A part of a recording: its text, and when it begins and ends, in seconds.

    Attributes:
        timestamp: None for an end that the model has not found.
    """

    text: str
    timestamp: tuple[float | None, float | None]


class Transcript(msgspec.Struct, frozen=True):
    """The answer of a model that was registered with ``return_timestamps``."""

    text: str
    chunks: tuple[Chunk, ...] | None = None


_answer = msgspec.json.Decoder(str | Transcript)


async def transcribe(call: Call) -> Response:
    """Transcribe a recording, of the form's field ``file``.

    Raises:
        InvalidInput: the form is not valid, the model does not transcribe, or times are wanted that
            it does not have.
    """
    wanted, recording = await _read(call)
    info = await call.choose(wanted.model)
    request = Predict(model=info.model.name, content_type=UNKNOWN, accept=JSON)
    _, frames = await call.models.daemon.predict(request, [recording])
    try:
        answer = _answer.decode(b"".join(frames))
    except msgspec.MsgspecError:
        raise InvalidInput(
            f"{info.model.name} does not transcribe recordings.",
            hint="Use a model of the task automatic-speech-recognition.",
            param="model",
        ) from None
    found = Transcript(answer) if isinstance(answer, str) else answer
    if wanted.response_format in _TIMED and found.chunks is None:
        raise InvalidInput(
            f"response_format {wanted.response_format} needs times, which {info.model.name} does "
            "not give.",
            hint="Register it with: --arg return_timestamps=true",
            param="response_format",
        )
    return _response(found, wanted.response_format)


async def _read(call: Call) -> tuple[TranscriptionRequest, bytes]:
    """The fields of the form, and the recording."""
    if not call.is_form:
        raise InvalidInput("The body is not a form (multipart/form-data).")
    form = await call.form()
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidInput("The form has no file.", param="file")
    return read_fields(_fields(form), TranscriptionRequest, _ACCEPTED), await file.read()


def _fields(form: FormData) -> dict[str, Any]:
    """The fields that are texts, but for the file.

    Raises:
        InvalidInput: a field occurs twice.
    """
    names = [name for name, _ in form.multi_items()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput(f"The form has the field {twice} more than once.", param=twice)
    return {name: value for name, value in form.items() if name != "file"}


def _response(found: Transcript, form: str) -> Response:
    chunks = found.chunks or ()
    if form == "json":
        return json_response({"text": found.text})
    if form == "text":
        return PlainTextResponse(f"{found.text}\n")
    if form == "srt":
        return PlainTextResponse(
            "".join(f"{n}\n{_line(one, ',')}\n" for n, one in enumerate(chunks, 1))
        )
    if form == "vtt":
        lines = "".join(f"{_line(one, '.')}\n" for one in chunks)
        return PlainTextResponse(f"WEBVTT\n\n{lines}", media_type="text/vtt")
    return json_response(_verbose(found))


def _verbose(found: Transcript) -> dict[str, Any]:
    """The text with its segments. The duration is the end of the last one."""
    segments = [
        {"id": number, "start": start, "end": end, "text": text}
        for number, (start, end, text) in enumerate(map(_times, found.chunks or ()))
    ]
    duration = max((end for _, end, _ in map(_times, found.chunks or ())), default=0.0)
    head = {"task": "transcribe", "language": "", "duration": duration}
    return {**head, "text": found.text, "segments": segments}


def _times(one: Chunk) -> tuple[float, float, str]:
    start = one.timestamp[0] or 0.0
    end = one.timestamp[1]
    return start, start if end is None else end, one.text


def _line(one: Chunk, point: str) -> str:
    start, end, text = _times(one)
    return f"{_clock(start, point)} --> {_clock(end, point)}\n{text.strip()}\n"


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"
