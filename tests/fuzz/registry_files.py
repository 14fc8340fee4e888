"""Files of the registry, which people edit: read, or said to be damaged and why.

A model that was read can be told to clients and workers, and written and read again as the same.
"""

import contextlib
import json
import math
from pathlib import Path

import msgspec
import tomli_w

from sire.errors import InvalidConfiguration, InvalidModel
from sire.options.derived import check_values
from sire.protocol.framing import encode
from sire.protocol.requests import Register
from sire.spec import (
    ImageOptions,
    ModelSpec,
    Signature,
    instance_bounds,
    parse_tensor,
)
from sired.store.model_file import from_toml, to_toml
from sired.store.registry import Registry
from tests.fuzz.draw import NUMBERS, TEXTS, Draw, scratch

_FIELDS = [field for field in ModelSpec.__struct_encode_fields__ if field != "name"]
_LITERALS = (
    *("0", "-1", "1", "nan", "inf", "1e400", "9" * 25, "9" * 5_000, "true", '""', '"x"', "[]"),
    *('"2GiB"', '"99999999999TiB"', '"5m"', '"forever"', '"1..4"', '"1..99999999999"', "[1, 2]"),
    *("{}", "{a = 1}", "2020-01-01", "07:32:00", '"[1, null]"', '"' + "[" * 9_000 + '"', '"/m"'),
    *("[" * 3_000, "{a = " * 300 + "1" + "}" * 300, '"high"', '"{\\"a\\": 1e999}"', '["/a"]'),
    *('{inputs = [{name = "x", dtype = "float32", shape = [-1, 4]}]}', "{mean = [0.5]}"),
)
_READ_FILE, _DRAW_FILE, _READ_TENSOR, _WRITE = range(4)


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a file of the registry; raises only for what is a bug."""
    draw = Draw(data)
    match draw.byte() % 4:
        case 0:
            _check_file(draw.rest())
        case 1:
            _check_file(_drawn_file(draw))
        case 2:
            _check_texts(draw)
        case _:
            _check_spec(_drawn_spec(draw))


def _drawn_file(draw: Draw) -> bytes:
    lines = [f"{draw.choice(_FIELDS)} = {draw.choice(_LITERALS)}" for _ in range(draw.byte() % 5)]
    return "\n".join(['path = "/m"', *lines]).encode()


def _check_file(content: bytes) -> None:
    with scratch() as directory:
        file = Path(directory) / "m.toml"
        file.write_bytes(content)
        registry = Registry(Path(directory))
        registry.load()
        if (spec := registry.models.get("m")) is None:
            assert len(registry.damaged["m.toml"]) < 2_000, "an error repeats what it refuses"
            return
        _check_read(spec)
        registry.add(spec, replace=True)
        again = Registry(Path(directory))
        again.load()
        assert repr(again.models["m"]) == repr(spec), (again.models["m"], spec)


def _check_read(spec: ModelSpec) -> None:
    encode(Register(model=spec))
    fewest, most = instance_bounds(spec.instances)
    assert 1 <= fewest <= (most or fewest) <= 10_000
    assert 0 < spec.weight < math.inf
    assert spec.batch_size >= 1
    assert spec.concurrency >= 1
    assert 0 <= spec.batch_delay < math.inf
    assert spec.weight_bytes >= 0
    assert spec.keep_alive is None or spec.keep_alive == "forever" or spec.keep_alive >= 0


def _check_texts(draw: Draw) -> None:
    text = draw.rest().decode(errors="replace")
    with contextlib.suppress(InvalidModel):
        parse_tensor(text)
    with contextlib.suppress(InvalidConfiguration):
        instance_bounds(text)


def _drawn_spec(draw: Draw) -> ModelSpec | None:
    """A model as a client might describe it."""
    content = {"name": "m", "path": "/m"} | {draw.choice(_FIELDS): draw.value() for _ in range(3)}
    content |= {"args": {draw.text(): draw.value()}} if draw.byte() % 2 else {}
    try:
        return msgspec.convert(content, ModelSpec)
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError):
        return None


def _check_spec(spec: ModelSpec | None) -> None:
    """What a client describes is refused, or written so that the next daemon can read it."""
    if spec is None or (spec.path and not spec.path.startswith("/")):
        return
    try:
        check_values(spec)
        text = to_toml(spec)
    except (InvalidModel, InvalidConfiguration):
        return
    from_toml("m", text.decode())


def seeds() -> list[bytes]:
    """Files as they are written, and as people write them."""
    full = ModelSpec(
        "m",
        "/m.onnx",
        runtime="onnx",
        args={"a": [1, {"b": 2.5}]},
        max_memory=2 << 30,
        keep_alive=300.0,
        signature=Signature((parse_tensor("x:float32[-1,4]"),)),
        image=ImageOptions((0.5,), (0.25,)),
    )
    by_hand = b'path = "/m"\ninstances = "1..4"\nkeep_alive = "forever"\n[args]\nx = 1 # why\n'
    nulls = tomli_w.dumps({"path": "/m", "args": json.dumps({"a": None})}).encode()
    return [
        *(bytes([_READ_FILE]) + file for file in (to_toml(full), by_hand, nulls)),
        *(bytes([_READ_TENSOR]) + text.encode() for text in ("x:float32[-1,4]", "1..4", *TEXTS)),
        *(
            bytes([_DRAW_FILE, 1, 0, field, 0, literal])
            for field in range(len(_FIELDS))
            for literal in range(len(_LITERALS))
        ),
        *(
            bytes([_WRITE, 0, field, 0, 0, number])
            for field in range(len(_FIELDS))
            for number in range(len(NUMBERS))
        ),
    ]
