"""``sire submit``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sire.client.daemon_client import DaemonClient
from sire.errors import InvalidConfiguration, InvalidInput
from sire.protocol.content import JSON
from sire.protocol.jobs import JobInput, Submit, Submitted
from sire.spec import check_priority
from sire_cli.daemon_connection import connect
from sire_cli.errors import FileMissing
from sire_cli.files import type_of
from sire_cli.inputs import Input, input_options, list_inputs
from sire_cli.options.arguments import (
    AnswerType,
    HeaderLine,
    InputDirectory,
    InputType,
    ModelName,
    OptionalInputFiles,
    PriorityName,
)
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.output import AsJson, print_json
from sire_cli.terminal.progress import progress

# The size of one request, whose jobs are made durable together.
_INPUTS_PER_REQUEST = 200
_BYTES_PER_REQUEST = 8 * 1024**2


def submit(
    name: ModelName,
    input_: OptionalInputFiles = None,
    from_dir: InputDirectory = None,
    priority: PriorityName = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", metavar="KEY=VALUE", help="Note to store with each job; repeatable."
        ),
    ] = None,
    from_: InputType = None,
    header: HeaderLine = None,
    to: AnswerType = None,
    timeout: Timeout = None,
    json: AsJson = False,
) -> None:
    """Submit one job per input and print the job ids.

    Each line of a .jsonl file is an input of its own. The command does not wait for results; use
    sire job wait and sire job result. Jobs survive a crash of the daemon or the machine and then
    run again. With --timeout, a job fails if it has not finished this long after its submission.
    """
    request = Submit(
        model=name,
        accept=type_of(to, "--to") or JSON,
        priority=check_priority(priority) if priority else None,
        metadata=_pairs(metadata or []),
        timeout=seconds(timeout),
    )
    files = list_inputs(_files(input_ or [], from_dir), input_options(from_, header))
    accepted: list[dict[str, str]] = []
    try:
        with connect() as connection, progress(len(files)) as advance:
            for batch in _batches(one.read() for one in files):
                ids = _send(connection, request, batch)
                accepted += [
                    {"id": job, "input": one.label} for job, one in zip(ids, batch, strict=True)
                ]
                if not json:
                    sys.stdout.write("".join(f"{job}\n" for job in ids))
                    sys.stdout.flush()
                advance(len(batch))
    finally:
        # If an input is invalid, the jobs before it have been accepted nevertheless.
        if json:
            print_json(accepted)


def _files(inputs: list[str], directory: str | None) -> list[str]:
    if directory is not None:
        inputs = [*inputs, *_files_in(Path(directory))]
    if not inputs:
        raise InvalidConfiguration(
            "No input is given.",
            hint="Specify files with -i FILE, or a directory with --from-dir DIR.",
        )
    return inputs


def _files_in(directory: Path) -> list[str]:
    try:
        files = [path for path in directory.iterdir() if path.is_file()]
    except FileNotFoundError:
        raise FileMissing(f"Directory {directory} does not exist.") from None
    except OSError as problem:
        raise InvalidInput(f"Cannot read {directory}: {problem.strerror}.") from None
    return sorted(str(path) for path in files if not path.name.startswith("."))


def _pairs(given: list[str]) -> dict[str, str]:
    for text in given:
        if not text.partition("=")[1]:
            raise InvalidConfiguration(f"--metadata must be in the form KEY=VALUE (got {text!r}).")
    return {key: value for key, _, value in (text.partition("=") for text in given)}


def _batches(inputs: Iterator[Input]) -> Iterator[list[Input]]:
    batch: list[Input] = []
    size = 0
    for one in inputs:
        if batch and (len(batch) == _INPUTS_PER_REQUEST or size + one.size > _BYTES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


def _send(connection: DaemonClient, request: Submit, batch: list[Input]) -> tuple[str, ...]:
    inputs = tuple(
        JobInput(content_type=one.content_type, frames=len(one.frames), source=one.label)
        for one in batch
    )
    with_inputs = msgspec.structs.replace(request, inputs=inputs)
    frames = [frame for one in batch for frame in one.frames]
    return connection.expect(Submitted, with_inputs, frames).jobs
