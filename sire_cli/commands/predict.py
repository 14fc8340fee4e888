"""``sire predict``."""

from typing import Annotated

import typer

from sire_cli.arguments import AnswerType, InputType, ModelName, PriorityName
from sire_cli.durations import Timeout, seconds
from sire_cli.files import WRITABLE, Output, read_input, read_stdin_once, type_of
from sire_cli.link import connect
from sire_cli.progress import progress
from sired.client.declare import parse_keep_alive
from sired.protocol.requests import Predict
from sired.spec import check_priority


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

    Every input is a request of its own, answered in order. Types are told by the files' endings
    or their first bytes.
    """
    read_stdin_once(input_)
    keep = parse_keep_alive(keep_alive)
    declared, limit = type_of(from_, "--from"), seconds(timeout)
    target = Output(output, type_of(to, "--to", WRITABLE), input_)
    with connect() as connection, progress(len(input_)) as advance:
        for file in input_:
            given = read_input(file, declared)
            request = Predict(
                model=name,
                content_type=given.content_type,
                accept=target.content_type,
                timeout=limit,
                priority=check_priority(priority) if priority else None,
                keep_alive=keep,
            )
            _, frames = connection.ask(request, [given.content])
            target.write(file, bytes(frames[0]))
            advance(1)
    target.finish()
