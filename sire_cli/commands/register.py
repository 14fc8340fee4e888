"""``sire register``."""

from pathlib import Path
from typing import Annotated

import typer

from sire.client.models.definition import describe_model
from sire.client.models.yaml_definition import read_model_file
from sire.errors import InvalidConfiguration, InvalidModel
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Register
from sire.spec import ModelSpec
from sire.units import format_bytes
from sire_cli.link import expect
from sire_cli.options.arguments import (
    DeviceName,
    ModelArguments,
    ModelClass,
    PriorityName,
    parse_arguments,
)
from sire_cli.terminal.output import AsJson, format_tensors, print_json, say

_BESIDE_FILE = ("name", "file", "trust", "replace", "json")


def register(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="What to call it.")] = None,
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="Its file or directory; a program may need none."),
    ] = None,
    runtime: Annotated[
        str, typer.Option("--runtime", help="What loads it; auto tells from the file.")
    ] = "auto",
    model_class: ModelClass = None,
    arg: ModelArguments = [],  # noqa: B006 (read only)
    cmd: Annotated[
        str | None,
        typer.Option(
            "--cmd",
            metavar="COMMAND",
            help="A program that serves it over HTTP; {path} and {port} stand for theirs.",
        ),
    ] = None,
    health: Annotated[
        str | None,
        typer.Option(
            "--health", metavar="URLPATH", help="What the program answers once it is ready."
        ),
    ] = None,
    input_: Annotated[
        list[str],
        typer.Option(
            "--input", metavar="SPEC", help="What it takes, like float32[-1,1,8,8]; repeatable."
        ),
    ] = [],  # noqa: B006
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="F,F,F", help="Taken off image channels.")
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="F,F,F", help="What channels are divided by.")
    ] = None,
    device: DeviceName = "auto",
    max_memory: Annotated[
        str | None,
        typer.Option("--max-memory", metavar="SIZE", help="What it needs at most, like 2GiB."),
    ] = None,
    keep_alive: Annotated[
        str | None,
        typer.Option(
            "--keep-alive",
            metavar="DURATION",
            help="How long it may idle: 5m, forever, or 0.",
        ),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Never unload it to make room.")] = False,
    priority: PriorityName = None,
    weight: Annotated[
        str | None,
        typer.Option(
            "--weight",
            metavar="F",
            help="Its share of a device that models compete for; 1 if none is given.",
        ),
    ] = None,
    instances: Annotated[
        str,
        typer.Option(
            "--instances",
            metavar="N|MIN..MAX|auto",
            help="How many processes hold it; more than one take free memory only.",
        ),
    ] = "1",
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            metavar="N",
            min=1,
            help="Run requests that wait together in one pass of up to N rows.",
        ),
    ] = 1,
    batch_delay: Annotated[
        str,
        typer.Option(
            "--batch-delay",
            metavar="DURATION",
            help="How long a request waits for others to fill its batch, like 5ms.",
        ),
    ] = "0",
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            help="Requests that one process works on at the same time, in threads.",
        ),
    ] = 1,
    warmup: Annotated[
        str | None,
        typer.Option("--warmup", metavar="FILE", help="An input to run once after loading."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let its file run code when it is loaded.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Answer an input it had before from memory.")
    ] = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="YAML",
            help="A file that says all this; only --trust and --replace stand beside it.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a model of this name.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Make a model known under a name; what its file tells need not be said."""
    if file is not None:
        _alone(context)
        _register(read_model_file(Path(file), name=name, trust=trust), replace, json)
        return
    if name is None:
        raise InvalidConfiguration("No name is given.", hint="Write: sire register NAME PATH")
    spec = describe_model(
        name,
        path,
        runtime,
        model_class=model_class,
        args=parse_arguments(arg) | _given(cmd=cmd, health=health),
        device=device,
        max_memory=max_memory,
        keep_alive=keep_alive,
        pin=pin,
        priority=priority or "normal",
        instances=instances,
        batch_size=batch_size,
        batch_delay=batch_delay,
        concurrency=concurrency,
        weight=_number(weight, "--weight", 1.0),
        warmup=warmup,
        trust=trust,
        cache=cache,
        inputs=input_,
        mean=_numbers(mean, "--mean"),
        std=_numbers(std, "--std"),
    )
    _register(spec, replace, json)


def _alone(context: typer.Context) -> None:
    """See that the file is not contradicted by options beside it."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if (source := context.get_parameter_source(parameter.name or ""))
        and source.name == "COMMANDLINE"
        and parameter.name not in _BESIDE_FILE
    ]
    if given:
        raise InvalidConfiguration(
            f"{given[0]} cannot stand beside --file.", hint="Write it into the file."
        )


def _register(spec: ModelSpec, replace: bool, json: bool) -> None:
    info = expect(ModelInfo, Register(model=spec, replace=replace))
    if json:
        print_json(info)
    for line in _inferred(info):
        say(line)


def _inferred(info: ModelInfo) -> list[str]:
    """What was told, and what was found out, in a few lines for people."""
    model = info.model
    kind = f"{model.runtime} ({model.format})" if model.format else model.runtime
    weights = f", {format_bytes(model.weight_bytes)} of weights" if model.path else ""
    takes = format_tensors(info.signature.inputs)
    inputs = f"takes {takes}" if takes else "what it takes is known once it is loaded"
    device = "any device" if model.device == "auto" else model.device
    by = f", by {model.model_class}" if model.model_class else ""
    reserved = f"{format_bytes(info.footprint_bytes)} ({info.footprint_source})"
    return [
        f"Registered {model.name}: {kind}{weights}; a load will reserve {reserved}.",
        f"It goes to {device}{by}; {inputs}.",
    ]


def _given(**options: str | None) -> dict[str, str]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _number(text: str | None, option: str, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        raise InvalidModel(f"{text!r} is no number.", hint=f"Write it like {option} 2") from None


def _numbers(text: str | None, option: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError:
        raise InvalidModel(
            f"{text!r} are no numbers.", hint=f"Write them like {option} 0.485,0.456,0.406"
        ) from None
