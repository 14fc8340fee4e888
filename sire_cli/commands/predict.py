"""``sire predict``."""

from collections.abc import Generator, Sequence
from contextlib import closing

import msgspec

from sire.client.daemon_client import DaemonClient
from sire.errors import SireError
from sire.options.kinds import parse_keep_alive
from sire.protocol.content import TEXT
from sire.protocol.requests import Predict
from sire.spec import KeepAlive, check_priority
from sire_cli.daemon_connection import connect
from sire_cli.files import Output, check_stream, type_of, write_part
from sire_cli.inputs import Input, InputFile, input_options, list_inputs
from sire_cli.options.arguments import (
    AnswerPath,
    AnswerType,
    AsStream,
    HeaderLine,
    InputFiles,
    InputType,
    KeepLoaded,
    ModelName,
    PriorityName,
)
from sire_cli.options.durations import Timeout, parse_option, seconds
from sire_cli.terminal.progress import progress

_Answers = Generator[bytes, None, None]


def predict(
    name: ModelName,
    input_: InputFiles,
    output: AnswerPath = None,
    from_: InputType = None,
    header: HeaderLine = None,
    to: AnswerType = None,
    timeout: Timeout = None,
    priority: PriorityName = None,
    stream: AsStream = False,
    keep_alive: KeepLoaded = None,
) -> None:
    """Run a model on input files, loading it if necessary.

    Each input is one request, and so is each line of a .jsonl file. Inputs with names are those of
    one request: -i audio=a.wav -i gain=3, where a value is a file or JSON. Several requests run
    concurrently, and answers are written in the order of the inputs. The command ends at the first
    request that fails. The timeout applies to each request. The type of an input is detected from
    its file name or its first bytes.
    """
    given = list_inputs(input_, input_options(from_, header))
    names = [one.name for one in given]
    to_type = type_of(to, "--to")
    if stream:
        check_stream(to_type, output, names)
    target = Output(output, to_type or (TEXT if stream else None), names)
    request = Predict(
        model=name,
        accept=target.content_type,
        timeout=seconds(timeout),
        priority=check_priority(priority) if priority else None,
        keep_alive=None if keep_alive is None else _keep_alive(keep_alive),
    )
    if stream:
        with connect() as connection:
            _stream(connection, request, given[0].read())
        return
    with connect() as connection, progress(len(given)) as advance:
        answers = (_one if len(given) == 1 else _many)(connection, request, given)
        with closing(answers):
            for file, answer in zip(names, answers, strict=True):
                target.write(file, answer)
                advance(1)
    target.finish()


def _keep_alive(text: str) -> KeepAlive:
    return parse_option("--keep-alive", text, parse_keep_alive)


def _stream(connection: DaemonClient, request: Predict, one: Input) -> None:
    """Print an answer part by part: text without separators, other types one part per line."""
    part = b""
    with closing(connection.stream(_request(request, one), one.frames)) as replies:
        for _, frames in replies:
            if frames:
                part = bytes(frames[0])
                write_part(part if request.accept == TEXT else part + b"\n")
    if request.accept == TEXT and not part.endswith(b"\n"):
        write_part(b"\n")


def _one(connection: DaemonClient, request: Predict, inputs: Sequence[InputFile]) -> _Answers:
    for one in inputs:
        given = one.read()
        _, frames = connection.ask(_request(request, given), given.frames)
        yield bytes(frames[0])


def _many(connection: DaemonClient, request: Predict, inputs: Sequence[InputFile]) -> _Answers:
    # Imported here, because a single input does not need them.
    from sire.client.pipeline.base import PipelinedRequest  # noqa: PLC0415
    from sire.client.pipeline.in_order import outcomes_in_order  # noqa: PLC0415
    from sire.client.pipeline.opening import open_pipeline  # noqa: PLC0415

    read = (one.read() for one in inputs)
    requests = (PipelinedRequest(_request(request, one), one.frames) for one in read)
    with closing(open_pipeline(connection)) as pipeline:
        for one, outcome in zip(inputs, outcomes_in_order(pipeline, requests), strict=True):
            if isinstance(outcome, SireError):
                outcome.message = f"{one.name}: {outcome.message}"
                raise outcome
            _, frames = outcome
            yield bytes(frames[0])


def _request(request: Predict, given: Input) -> Predict:
    return msgspec.structs.replace(request, content_type=given.content_type)
