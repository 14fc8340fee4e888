"""The options of a model in sire(1), by the names that Python, YAML and [defaults] use."""

from man.roff import bold, item, text
from sire.options.option import ModelOption
from sire.options.table import OPTIONS

_PLACES = {"cli": "", "yaml": "YAML", "python": "Python", "defaults": "[defaults]"}


def model_options() -> str:
    """Every option: its name, the default, what it does, and where it may be set."""
    return "".join(map(_option, OPTIONS))


def _option(option: ModelOption) -> str:
    facts = [option.kind.name, f"default {option.default_text}" if option.default_text else ""]
    noted = ", ".join(filter(None, facts))
    names = ", ".join(bold(name) for name in (option.name, *dict(option.also)))
    return item(
        names + (f" ({text(noted)})" if noted else ""), f"{option.help} {_settable(option)}"
    )


def _settable(option: ModelOption) -> str:
    flag = [f"`{option.flag}`"] if "cli" in option.settable else []
    places = flag + [name for one, name in _PLACES.items() if name and one in option.settable]
    return f"Set by {', '.join(places)}."
