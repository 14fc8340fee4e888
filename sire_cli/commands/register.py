"""``sire register``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sire.client.models.definition import Definition, define_model
from sire.client.models.yaml_definition import read_model_file
from sire.errors import InvalidConfiguration
from sire.options.option import ModelOption
from sire.options.table import BY_NAME
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Register
from sire.spec import format_tensors
from sire.units import format_bytes
from sire_cli.daemon_connection import expect
from sire_cli.options.model_options import takes_model_options
from sire_cli.terminal.output import AsJson, print_json, print_message

_BESIDE_FILE = ("trust",)


@takes_model_options()
def register(
    options: dict[str, Any],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the model.")] = None,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", help="Its file or directory; a class or a program may need none."
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="YAML",
            help="YAML file with the options; only --trust and --replace may accompany it.",
            rich_help_panel="Registration",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace a model of the same name.",
            rich_help_panel="Registration",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Register a model. Anything its file states can be omitted."""
    if file is not None:
        _check_alone(path, options)
        trust = options.get("trust", False)
        definition = read_model_file(Path(file), name=name, trust=trust)
    elif name is None:
        raise InvalidConfiguration("No name is given.", hint="Write: sire register NAME PATH")
    else:
        definition = define_model(name, path, options, place=_flag)
    _register(definition, replace, json)


def _check_alone(path: str | None, options: dict[str, Any]) -> None:
    """Reject options that could contradict the file."""
    given = [] if path is None else ["PATH"]
    given += [BY_NAME[name].flag for name in options if name not in _BESIDE_FILE]
    if given:
        raise InvalidConfiguration(
            f"{given[0]} cannot be combined with --file.", hint="Specify it in the file."
        )


def _flag(option: ModelOption) -> str:
    return option.flag


def _register(definition: Definition, replace: bool, json: bool) -> None:
    request = Register(model=definition.spec, replace=replace, explicit=definition.explicit)
    info = expect(ModelInfo, request)
    if json:
        print_json(info)
    for line in _summary(info):
        print_message(line)


def _summary(info: ModelInfo) -> list[str]:
    """What was specified and what was detected, in a few lines for people."""
    model = info.model
    kind = f"{model.runtime} ({model.format})" if model.format else model.runtime
    weights = f", {format_bytes(model.weight_bytes)} of weights" if model.path else ""
    takes = format_tensors(info.signature.inputs)
    inputs = f"takes {takes}" if takes else "its inputs are known once it is loaded"
    device = "any device" if model.device == "auto" else model.device
    by = f", by {model.model_class}" if model.model_class else ""
    reserved = f"{format_bytes(info.footprint_bytes)} ({info.footprint_source})"
    return [
        f"Registered {model.name}: {kind}{weights}; a load will reserve {reserved}.",
        f"It goes to {device}{by}; {inputs}.",
        *model.notes,
        *([f"It cannot be loaded: {info.never_fits}"] if info.never_fits else []),
    ]
