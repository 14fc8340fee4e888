"""Every instruction has one effect."""

from typing import get_args
from unittest.mock import Mock

from sired.scheduler.effects import Effects, methods
from sired.scheduler.instructions import Instruction


def test_each_instruction_is_carried_out_by_a_method_of_its_own() -> None:
    carried_out = methods(Mock(spec=Effects))
    assert carried_out.keys() == frozenset(get_args(Instruction))
    assert len(set(map(id, carried_out.values()))) == len(carried_out)
