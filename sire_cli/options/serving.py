"""Options of ``sire serve`` that change how its model is registered."""

from collections.abc import Sequence

import msgspec

from sire.errors import InvalidConfiguration
from sire.protocol.devices import DeviceList
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Devices, Register, Show
from sire.spec import ModelSpec
from sire_cli.daemon_connection import expect
from sire_cli.recipes import served_by
from sire_cli.terminal.output import print_message

# What a registration states; the rest is detected, measured or learned.
_COMPARED = ("runtime", "args", "device", "batch_size", "concurrency")


def register_served(
    names: Sequence[str], device: str | None, framework: str | None, most: int | None
) -> None:
    """Register the one model anew as the options say, unless it is registered like that.

    Args:
        names: of the models that are served.
        device: where it is loaded; None for where it is now.
        framework: serves it; None for what does so now.
        most: requests or rows at once; None for what it has now.

    Raises:
        InvalidConfiguration: there is not one model, or an option does not apply to it.
        SireError: it cannot be registered.
    """
    if device is None and framework is None and most is None:
        return
    if len(names) != 1:
        raise InvalidConfiguration(
            "--device, --framework and --max-batch-size need the name of one model.",
            hint="sire serve NAME --framework llama.cpp",
        )
    old = expect(ModelInfo, Show(name=names[0])).model
    new = old if device is None else msgspec.structs.replace(old, device=device)
    if framework is not None:
        new = served_by(new, framework, most=most, on_gpu=_on_gpu(new.device))
    elif most is not None:
        if old.runtime == "command":
            raise InvalidConfiguration(
                f"{old.name} is a program, which makes batches itself.",
                hint="Use its own option in --cmd, or --framework.",
            )
        new = msgspec.structs.replace(new, batch_size=most)
    if not _alike(old, new):
        explicit = ("device",) if device is not None else ()
        expect(ModelInfo, Register(model=new, replace=True, explicit=explicit))
        print_message(f"Registered {new.name} anew, as the options say.")


def _on_gpu(device: str) -> bool:
    if device != "auto":
        return device.startswith("cuda")
    return any(one.kind == "cuda" for one in expect(DeviceList, Devices()).devices)


def _alike(old: ModelSpec, new: ModelSpec) -> bool:
    given = {name: value for name, value in old.args.items() if name in new.args}
    alike = all(getattr(old, name) == getattr(new, name) for name in _COMPARED if name != "args")
    return alike and given == new.args
