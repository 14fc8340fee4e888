"""``sire predict``."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Annotated

import msgspec
import typer

from sire.client.connection import Connection
from sire.errors import SireError
from sire.options.kinds import parse_keep_alive
from sire.protocol.content import TEXT
from sire.protocol.requests import Predict
from sire.spec import check_priority
from sire_cli.files import (
    WRITABLE,
    Input,
    Output,
    check_stream,
    read_input,
    read_stdin_once,
    type_of,
    write_part,
)
from sire_cli.link import connect
from sire_cli.options.arguments import AnswerType, InputType, ModelName, PriorityName
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.progress import progress

ReplyRouter = Generator[bytes, None, None]


def predict(
    name: ModelName,
    input_: Annotated[
        list[str],
        typer.Option(
            "--input", "-i", metavar="FILE", help="What to run it on; - is stdin; repeatable."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|DIR", help="Where answers go; - is stdout."),
    ] = None,
    from_: InputType = None,
    to: AnswerType = None,
    timeout: Timeout = None,
    priority: PriorityName = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Print the answer as the model writes it; text, or --to json."
        ),
    ] = False,
    keep_alive: Annotated[
        str | None,
        typer.Option(
            "--keep-alive",
            metavar="DURATION",
            help="How long it may idle afterwards: 5m, forever, 0 to unload it at once.",
        ),
    ] = None,
) -> None:
    """Run a model on files; it is loaded if it is not.

    Every input is a request of its own; several are under way at once, and their answers come in
    the order of the inputs. The first one that fails ends the command; --timeout is for each.
    Types are told by the files' endings or their first bytes.
    """
    read_stdin_once(input_)
    to_type = type_of(to, "--to", WRITABLE)
    if stream:
        check_stream(to_type, output, input_)
    target = Output(output, to_type or (TEXT if stream else None), input_)
    wanted = Predict(
        model=name,
        accept=target.content_type,
        timeout=seconds(timeout),
        priority=check_priority(priority) if priority else None,
        keep_alive=parse_keep_alive(keep_alive),
    )
    declared = type_of(from_, "--from")
    given = (read_input(file, declared) for file in input_)
    if stream:
        with connect() as connection:
            _stream(connection, wanted, next(given))
        return
    with connect() as connection, progress(len(input_)) as advance:
        answers = (_one if len(input_) == 1 else _many)(connection, wanted, given)
        with closing(answers):
            for file, answer in zip(input_, answers, strict=True):
                target.write(file, answer)
                advance(1)
    target.finish()


def _stream(connection: Connection, wanted: Predict, one: Input) -> None:
    """Print an answer part by part: a text goes on, anything else has a line for each."""
    part = b""
    with closing(connection.stream(_request(wanted, one), [one.content])) as replies:
        for _, frames in replies:
            if frames:
                part = bytes(frames[0])
                write_part(part if wanted.accept == TEXT else part + b"\n")
    if wanted.accept == TEXT and not part.endswith(b"\n"):
        write_part(b"\n")


def _one(connection: Connection, wanted: Predict, inputs: Iterator[Input]) -> ReplyRouter:
    for one in inputs:
        _, frames = connection.ask(_request(wanted, one), [one.content])
        yield bytes(frames[0])


def _many(connection: Connection, wanted: Predict, inputs: Iterator[Input]) -> ReplyRouter:
    # Here, because whoever has one input has no use for them.
    from sire.client.pipeline.in_order import outcomes_in_order  # noqa: PLC0415
    from sire.client.pipeline.pipeline import PipelinedRequest, open_pipeline  # noqa: PLC0415

    questions = (PipelinedRequest(_request(wanted, one), [one.content]) for one in inputs)
    with closing(open_pipeline(connection)) as pipeline:
        for outcome in outcomes_in_order(pipeline, questions):
            if isinstance(outcome, SireError):
                raise outcome
            _, frames = outcome
            yield bytes(frames[0])


def _request(wanted: Predict, given: Input) -> Predict:
    return msgspec.structs.replace(wanted, content_type=given.content_type)
