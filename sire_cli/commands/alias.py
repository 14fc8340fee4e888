"""``sire alias``: other names for models, or for one of several."""

from typing import Annotated

import msgspec
import typer

from sire.errors import InvalidConfiguration, shown
from sire.protocol.aliases import (
    FAILOVER,
    Alias,
    AliasList,
    AliasState,
    ListAliases,
    RemoveAlias,
    SetAlias,
    WeightedModel,
)
from sire_cli.daemon_connection import connect, expect
from sire_cli.options.completion import complete_alias, complete_model
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

_WEIGHTED = "round-robin"


class _AliasGroup(CommandGroup):
    order = ("set", "ls", "rm")


alias = typer.Typer(
    cls=_AliasGroup, help="Give models other names, and spread requests over several."
)


@alias.command(name="set", cls=Command)
def set_alias(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The alias.", autocompletion=complete_alias)
    ],
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL[=WEIGHT]",
            help="Models, in order of preference. With weights, requests are spread over them in "
            "that proportion; a model of weight 0 is used while no other can serve.",
            autocompletion=complete_model,
        ),
    ],
    routing: Annotated[
        str | None,
        typer.Option(
            "--routing",
            metavar="NAME",
            help="Which model gets a request: failover (the first that can serve; the default "
            "without weights), round-robin (the default with weights), least-loaded, or a "
            "strategy of a plugin.",
        ),
    ] = None,
) -> None:
    """Define an alias, or define it anew."""
    weighted = tuple(map(_weighted, models))
    default = _WEIGHTED if any("=" in one for one in models) else FAILOVER
    defined = Alias(name, weighted, routing or default)
    (state,) = expect(AliasList, SetAlias(alias=defined)).aliases
    print_message(f"{name} stands for {_models(defined)} ({defined.routing}).")
    for model, problem in state.problems.items():
        print_message(f"{model} cannot serve now: {problem}")


@alias.command(cls=Command)
def ls(json: AsJson = False) -> None:
    """List aliases, and what they stand for now."""
    known = expect(AliasList, ListAliases()).aliases
    if json:
        print_json(known)
    elif known:
        print_table(("ALIAS", "MODELS", "ROUTING", "SERVES", "PROBLEMS"), map(_row, known))
    else:
        print_message("No alias is defined. Define one: sire alias set NAME MODEL")


@alias.command(cls=Command)
def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Aliases.", autocompletion=complete_alias),
    ],
) -> None:
    """Remove aliases; their models stay."""
    with connect() as daemon:
        for name in names:
            daemon.ask(RemoveAlias(name=name))
            print_message(f"Removed the alias {name}.")


def _weighted(text: str) -> WeightedModel:
    """A model with its weight.

    Raises:
        InvalidConfiguration: the weight is not a number from 0 to a million.
    """
    name, given, weight = text.partition("=")
    if not given:
        return WeightedModel(name)
    try:
        return msgspec.convert({"model": name, "weight": float(weight)}, WeightedModel)
    except (ValueError, msgspec.ValidationError):
        raise InvalidConfiguration(
            f"{shown(weight)} is not a weight.", hint="Write it like qwen=2; 0 is for a fall-back."
        ) from None


def _models(one: Alias) -> str:
    return ", ".join(
        each.model if each.weight == 1 else f"{each.model}={each.weight:g}" for each in one.models
    )


def _row(state: AliasState) -> tuple[str, ...]:
    problems = "; ".join(f"{name}: {why}" for name, why in state.problems.items())
    one = state.alias
    return (one.name, _models(one), one.routing, state.serves or "none", problems)
