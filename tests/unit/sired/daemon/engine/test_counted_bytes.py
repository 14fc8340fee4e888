"""Which inputs count towards the limit in bytes."""

from sired.daemon.engine.predictions import counted_bytes


def test_small_inputs_are_limited_by_number_and_larger_ones_by_their_bytes() -> None:
    assert counted_bytes(()) == 0
    assert counted_bytes((bytes(65_536),)) == 0
    assert counted_bytes((bytes(65_536), b"x")) == 65_537
