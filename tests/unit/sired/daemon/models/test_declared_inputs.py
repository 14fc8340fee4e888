"""Inputs that are declared as the model's file cannot take them are rejected at registration."""

import pytest

from sire.errors import InvalidModel
from sire.spec import TensorSpec, parse_tensor
from sired.daemon.models.declared_inputs import check_declared_inputs


def check(declared: str, *stated: str) -> None:
    check_declared_inputs([parse_tensor(declared)], [parse_tensor(text) for text in stated])


@pytest.mark.parametrize(
    ("declared", "stated"),
    [
        ("y:float32[]=3", ["x:float32[-1]", "y:float32[-1]"]),
        ("y:float64[1]=3", ["x:float32[-1]", "y:float32[-1]"]),
        ('y:string[]="a"', ["x:float32[-1]", "y:float32[]"]),
        ("ids:int32[-1]", ["ids:int64[-1]"]),
        ("uint8[1,8,8,4]", ["x:uint8[1,-1,-1,3]"]),
        ("float32[-1,5]", ["x:float32[-1]"]),
    ],
)
def test_what_the_file_cannot_take_is_rejected(declared: str, stated: list[str]) -> None:
    with pytest.raises(InvalidModel, match=r"is declared as .* file states") as caught:
        check(declared, *stated)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("declared", "stated"),
    [
        ("y:float32[1]=3", ["x:float32[-1]", "y:float32[-1]"]),
        ("gain:float32[]=3", ["x:float32[-1]", "gain:float32[...]"]),
        ("float32[-1,3,224,224]", ["x:float32[1,3,-1,-1]"]),
        ("pixels:float32[4]", ["x:float32[-1]"]),
        ("float32[-1]", []),
        ("other:int8[1]", ["x:float32[-1]", "y:float32[-1]"]),  # reported as unknown elsewhere
    ],
)
def test_what_it_may_take_is_accepted(declared: str, stated: list[str]) -> None:
    check(declared, *stated)


def test_so_is_any_declaration_of_an_input_that_takes_anything() -> None:
    check_declared_inputs([parse_tensor("text:string[-1]")], [TensorSpec("", "object", (-1,))])
