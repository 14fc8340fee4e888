"""Checks of declared inputs against those that the model's file states."""

from collections.abc import Sequence

from sire.errors import InvalidModel, shown
from sire.spec import ANY_SHAPE, TensorSpec, format_tensors

_ANYTHING = "object"


def check_declared_inputs(declared: Sequence[TensorSpec], stated: Sequence[TensorSpec]) -> None:
    """Check that declared inputs are of the kind that the model's file states.

    Args:
        declared: some or all of the inputs, by name; the name of a single one does not matter.
        stated: all of them; empty if the file states none.

    Raises:
        InvalidModel: a dtype, a number of axes or a length differs.
    """
    alone = len(declared) == len(stated) == 1
    own = {tensor.name: tensor for tensor in stated}
    for tensor in declared:
        known = stated[0] if alone else own.get(tensor.name)
        if known is not None and not _agree(tensor, known):
            raise InvalidModel(
                f"The input {shown(known.name)} is declared as {_kind(tensor)}, but the model's "
                f"file states {_kind(known)}.",
                hint="Declare the dtype and number of axes that the file states; the length of an "
                "axis may be -1, or any where the file has -1.",
            )


def _agree(declared: TensorSpec, stated: TensorSpec) -> bool:
    """Whether there are arrays that are of both kinds."""
    if stated.dtype == _ANYTHING:
        return True
    if declared.dtype != stated.dtype:
        return False
    if ANY_SHAPE in (declared.shape, stated.shape):
        return True
    return len(declared.shape) == len(stated.shape) and all(
        one == other or -1 in (one, other)
        for one, other in zip(declared.shape, stated.shape, strict=True)
    )


def _kind(tensor: TensorSpec) -> str:
    return format_tensors((TensorSpec("", tensor.dtype, tensor.shape),))
