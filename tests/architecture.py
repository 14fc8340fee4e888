"""The table of rooms in ARCHITECTURE.md, made from the code: ``python -m tests.architecture``.

A room is a package at the second level (``sired.store``), or a module that lies beside them; those
of ``sire`` that import no package share one row. A room's description is its docstring; what it
imports is read from the import graph.
"""

import ast
from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- end of rooms -->\n"
PACKAGES = ("sire", "sired", "sire_cli")
VOCABULARY = (
    "constants",
    "errors",
    "exit_codes",
    "json_file",
    "listening",
    "model_directory",
    "nearest",
    "nvidia",
    "paths",
    "printable",
    "spec",
    "units",
    "values",
    "yaml_text",
)
# Imported when the name is asked for, not with the package.
_LAZY = {("sire", "sire.client.manager"), ("sire", "sire.client.remote.model")}


def description(room: str) -> str:
    """The first line of a room's docstring."""
    place = ROOT / room.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    assert text, f"{file} has no docstring"
    return text.splitlines()[0].rstrip(".").replace("``", "`")


def room_of(module: str) -> str:
    """The room that a module lies in; the command line is one room, and so is the vocabulary."""
    package, *inner = module.split(".")
    if package == "sire_cli" or not inner or inner[0] in VOCABULARY:
        return package
    return f"{package}.{inner[0]}"


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    graph = grimp.build_graph(*PACKAGES)
    found = defaultdict[str, set[str]](set)
    for module in sorted(graph.modules):
        found[room_of(module)] |= {
            room_of(imported)
            for imported in graph.find_modules_directly_imported_by(module)
            if (module, imported) not in _LAZY
        }
    return {room: others - {room} for room, others in found.items()}


def _inner(room: str) -> str:
    """The packages inside of a room, by name."""
    directory = ROOT / room.replace(".", "/")
    inner = sorted(file.parent.name for file in directory.glob("*/__init__.py"))
    return f" ({', '.join(inner)})" if inner and room not in ("sire", "sired") else ""


def table() -> str:
    """The table in Markdown."""
    rows = ["| room | what lives there | imports |", "|---|---|---|"]
    found = imports()
    for room in sorted(found, key=lambda room: (PACKAGES.index(room.split(".")[0]), room)):
        if room in {"sired", "sired.__main__"}:  # nothing lies there but `python -m sired`
            continue
        what = description(room) + _inner(room)
        if room == "sire":
            what = f"The shared vocabulary: {', '.join(VOCABULARY)}"
        others = ", ".join(f"`{other}`" for other in sorted(found[room])) or "nothing"
        rows.append(f"| `{room}` | {what} | {others} |")
    return "\n".join(rows) + "\n"


def page_with(rooms: str) -> str:
    """ARCHITECTURE.md with this table in its place."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{rooms}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
