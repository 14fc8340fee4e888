"""The table of tasks in docs/reference/huggingface.md: ``python -m tests.huggingface_page``.

It is made from the table of the runtime, ``sired/runtimes/huggingface/table.py``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sired.runtimes.huggingface.table import TASKS

if TYPE_CHECKING:
    from sired.runtimes.huggingface.table import TaskTraits


PAGE = Path(__file__).parents[1] / "docs/reference/huggingface.md"
BEGIN, END = "<!-- tasks -->\n", "<!-- end of tasks -->\n"
TAKEN = {
    "texts": "a text, or a list of texts",
    "prompts": "a text, or an object with `text` or `messages`; or a list of these",
    "pairs": "a text, or a pair: an object with `text` and `text_pair`; or a list of these",
    "pictures": "a picture, or a list of pictures",
    "sound": "a sound file, or `samples` and `sampling_rate`",
}


def named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def taken(task: "TaskTraits") -> str:
    """What a request for a task contains, in words."""
    if task.takes != "objects":
        return TAKEN[task.takes]
    required, optional = task.fields[: task.required], task.fields[task.required :]
    parts = [named(required)] if required else []
    parts += [f"optional: {named(optional)}"] if optional else []
    return f"an object, or a list of objects, with {'; '.join(parts)}"


def table() -> str:
    """The rows of the table: task, input, answer to one item, arguments."""
    lines = ["| task | input | answer to one item | arguments |", "|---|---|---|---|"]
    for task in TASKS.values():
        arguments = named(sorted(task.options)) + (", generation" if task.generates else "")
        lines.append(
            f"| `{task.name}` | {taken(task)} | {task.answer} | {arguments.removeprefix(', ')} |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with the table as it has to be."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
