"""``sire ls``."""

from sire.protocol.aliases import AliasState
from sire.protocol.replies import ModelInfo, ModelList
from sire.protocol.requests import ListModels
from sire.units import format_bytes
from sire_cli.daemon_connection import expect
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

_COLUMNS = ("NAME", "RUNTIME", "FORMAT", "STATE", "DEVICE", "WEIGHTS>", "FOOTPRINT>", "PATH")


def ls(json: AsJson = False) -> None:
    """List registered models and aliases."""
    reply = expect(ModelList, ListModels())
    for name, problem in reply.damaged.items():
        print_message(f"sire: warning: Cannot read the definition of {name}: {problem}")
    if json:
        print_json(reply.models)
    elif reply.models or reply.aliases:
        known = {info.model.name: info for info in reply.models}
        aliases = [_alias_row(state, known) for state in reply.aliases]
        print_table(_COLUMNS, [*map(_row, reply.models), *aliases])
    else:
        print_message("No model is registered. Register one: sire register NAME PATH")


def _row(info: ModelInfo) -> tuple[str, ...]:
    return (
        info.model.name,
        info.model.runtime,
        info.model.format,
        info.state,
        ", ".join(instance.device for instance in info.instances),
        format_bytes(info.model.weight_bytes),
        format_bytes(info.footprint_bytes),
        info.model.path,
    )


def _alias_row(state: AliasState, known: dict[str, ModelInfo]) -> tuple[str, ...]:
    """An alias, with the state of the model that it stands for now."""
    serves = known.get(state.serves or "")
    devices = ", ".join(instance.device for instance in serves.instances) if serves else ""
    models = ", ".join(one.model for one in state.alias.models)
    now = serves.state if serves else "unregistered"
    return (state.alias.name, "alias", state.alias.routing, now, devices, "", "", f"of {models}")
