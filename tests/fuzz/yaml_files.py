"""YAML files: definitions of models and settings, read within limits or refused.

Whatever aliases, merges, tags and numbers they are made of, what is read from them is no larger
than the limits allow, and no code that they name is accepted without trust.
"""

from pathlib import Path

from sire.client.models.yaml_definition import read_model_file
from sire.errors import SireError
from sire.spec import ModelSpec, named_code
from sire.yaml_text import MOST_CHARACTERS, MOST_VALUES, read_yaml
from sired.config import load_settings
from tests.fuzz.draw import TEXTS, Draw, scratch

_FIELDS = (
    *("model_id", "model_path", "path", "runtime", "model_type", "model_class", "config", "cmd"),
    *("inputs", "keep_alive", "max_memory", "batch_size", "image", "trust", "<<", "? a", "&k a"),
    *("daemon", "queue", "total", "grace", "devices"),
)
_VALUES = (
    *(value for value in TEXTS if "\0" not in value),
    *(
        "*a",
        "*b",
        "&a [1, 2]",
        "&b {x: *a}",
        "{<<: *b, y: 1}",
        "[*a, *a, *a]",
        "&a [*a]",
        "&a &b x",
    ),
    *("!!python/object/apply:os.system [true]", "!!int x", "!!set {a}", "!!binary AA==", "!x y"),
    *("2001-99-99", "1:59:59", "0o777", "0x" + "f" * 90, "9" * 200, ".inf", "1e999", "~", "yes"),
    *("|\n  text", ">-\n  a\n  b", "[" * 200, "{" * 99, "- - - - x", "'", '"\\x1b"', "\u2028"),
    *("float32[-1,4]", "model.py:M", "{cmd: 'x {port}'}", "[{name: x, dtype: int8, shape: [1]}]"),
)
_RAW, _LINES, _GROWN = range(3)


def fuzz_one(data: bytes) -> None:
    """Read the bytes as YAML; raises only for what is a bug."""
    draw = Draw(data)
    match draw.byte() % 3:
        case 0:
            text = draw.rest()
        case 1:
            text = _lines(draw).encode()
        case _:
            text = _grown(draw).encode()
    with scratch() as directory:
        path = Path(directory) / "file.yaml"
        path.write_bytes(text)
        _check_values(path)
        _check_definition(path)
        _check_settings(path)


def _lines(draw: Draw) -> str:
    lines = []
    for _ in range(draw.byte() % 8):
        indent = "  " * (draw.byte() % 3)
        lines.append(f"{indent}{draw.choice(_FIELDS)}: {draw.choice(_VALUES)}")
    return draw.choice(("\n", "\r\n", "\n---\n", "\n\t")).join(lines)


def _grown(draw: Draw) -> str:
    """Values that stand for several of the one before, as lists or by merging."""
    count, depth = draw.byte() % 12, draw.byte() % 30
    lines = [f"a0: &a0 {draw.choice(('x', '[1]', '{k: v}', 'y' * 500))}"]
    for number in range(1, depth):
        repeated = ", ".join([f"*a{number - 1}"] * count)
        form = draw.choice(("[{}]", "{{<<: [{}]}}", "{{k: [{}], l: *a0}}"))
        lines.append(f"a{number}: &a{number} {form.format(repeated)}")
    return "\n".join(lines)


def _check_values(path: Path) -> None:
    try:
        content = read_yaml(path)
    except SireError as error:
        assert len(str(error)) < 2_000, "an error repeats what it refuses"
        return
    values, characters = _size(content)
    assert values <= 2 * MOST_VALUES  # a merge adds the keys of what it merges
    assert characters <= 2 * MOST_CHARACTERS


def _size(value: object) -> tuple[int, int]:
    if isinstance(value, str | bytes):
        return 1, len(value)
    parts: list[object] = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set):
        parts = list(value)
    sizes = [_size(part) for part in parts]
    return 1 + sum(one for one, _ in sizes), sum(other for _, other in sizes)


def _check_definition(path: Path) -> None:
    try:
        spec: ModelSpec = read_model_file(path).spec
    except SireError as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"
        return
    assert not named_code(spec)
    assert not spec.trusted


def _check_settings(path: Path) -> None:
    try:
        load_settings(path, {}, {})
    except SireError as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"


def seeds() -> list[bytes]:
    """Files as people write them, and every value in every field."""
    files = (
        b"model_id: nice\nmodel_path: /w.onnx\nbatch_size: 4\n",
        b"daemon: {grace: 5s}\nqueue:\n  total: 5\n",
        b"a: &a {x: 1}\nb: {<<: *a, y: 2}\n",
    )
    return [
        *(bytes([_RAW]) + file for file in files),
        *(
            bytes([_LINES, 2, 0, 0, 0, 0, 16, 0, 0, field, 0, value])
            for field in range(len(_FIELDS))
            for value in range(len(_VALUES))
        ),
        *(bytes([_GROWN, n, 3 * n, *range(n, n + 60)]) for n in range(12)),
    ]
