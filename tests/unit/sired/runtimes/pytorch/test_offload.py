"""Weights leave the memory they were in, and come back bit for bit; here without a GPU."""

import weakref
from types import SimpleNamespace
from typing import Any, Self

import pytest
import torch

from sired.runtimes.pytorch.model import storage_bytes
from sired.runtimes.pytorch.offload import can_offload, offload, restore


class Tied(torch.nn.Module):
    """One weight under two names, a buffer, and a view that is neither."""

    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, 16)
        self.head = torch.nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight
        self.low = torch.nn.Parameter(torch.randn(7).half())
        self.register_buffer("offset", torch.randn(3, 50))
        self.first_offset = self.offset[0]

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.embed(x)) + self.first_offset + self.low.float().sum()


@pytest.fixture
def module() -> Tied:
    return Tied().eval()


def test_a_module_that_was_parked_computes_what_it_did(module: Tied) -> None:
    x = torch.arange(50)
    before = module(x)
    parked = None
    for _ in range(2):
        parked = offload(module, parked, pinned=False)
        restore(parked)
        assert torch.equal(module(x), before)
    assert module.head.weight is module.embed.weight


def test_while_it_is_parked_its_device_has_nothing_of_it_and_tied_weights_are_moved_once(
    module: Tied,
) -> None:
    parked = offload(module, pinned=False)
    tensors = [*module.parameters(), *module.buffers()]
    assert {tensor.untyped_storage().nbytes() for tensor in tensors} == {0}
    sizes = sorted(part.nbytes for part in parked.parts)
    assert sizes == [7 * 2, 3 * 50 * 4, 50 * 16 * 4]
    assert parked.memory.nbytes < sum(sizes) + 512 * len(sizes)


def test_the_memory_it_was_parked_in_is_used_again_for_what_it_holds_then(module: Tied) -> None:
    parked = offload(module, pinned=False)
    restore(parked)
    module.offset.add_(1)
    before, memory = module(torch.arange(50)), parked.memory.data_ptr()
    again = offload(module, parked, pinned=False)
    assert again.memory.data_ptr() == memory
    restore(again)
    assert torch.equal(module(torch.arange(50)), before)


def test_weights_that_were_replaced_are_parked_elsewhere(module: Tied) -> None:
    parked = offload(module, pinned=False)
    restore(parked)
    module.low = torch.nn.Parameter(torch.randn(9))
    again = offload(module, parked, pinned=False)
    assert min(part.nbytes for part in again.parts) == 9 * 4
    restore(again)


def test_what_is_no_module_cannot_be_parked(module: Tied) -> None:
    assert can_offload(module)
    assert not can_offload(module.forward)


def test_weights_that_are_replaced_while_awake_are_not_kept_in_memory(module: Tied) -> None:
    parked = offload(module, pinned=False)
    restore(parked)
    replaced = weakref.ref(module.low.untyped_storage())
    kept = weakref.ref(module.low)
    module.low = torch.nn.Parameter(torch.randn(7).half())
    assert kept() is None
    assert replaced() is None
    assert parked.storages == []
    before = module(torch.arange(50))
    again = offload(module, parked, pinned=False)
    assert again is parked  # the sizes are the same
    restore(again)
    assert torch.equal(module(torch.arange(50)), before)


@pytest.mark.parametrize("code", [0, 2])
def test_weights_leave_also_where_the_system_lets_no_memory_be_pinned(
    module: Tied, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As WSL2, beyond half a GiB or one."""
    asked: list[int] = []

    def register(address: int, size: int, flags: int) -> int:
        asked.append(size)
        return code

    monkeypatch.setattr(torch.cuda, "cudart", lambda: SimpleNamespace(cudaHostRegister=register))
    before = module(torch.arange(50))
    parked = offload(module)
    assert asked == [parked.memory.nbytes]
    assert ("cannot be pinned (CUDA error 2)" in caplog.text) == bool(code)
    restore(parked)
    assert torch.equal(module(torch.arange(50)), before)


class Wrapped(torch.Tensor):
    """Numbers kept as bytes and scales, as by torchao: it has no storage of its own."""

    packed: torch.Tensor
    scale: torch.Tensor

    def __new__(cls, packed: torch.Tensor, scale: torch.Tensor) -> Self:
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls, packed.shape, dtype=torch.float32, device=packed.device
        )
        made.packed, made.scale = packed, scale
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["packed", "scale"], None

    @classmethod
    def __tensor_unflatten__(cls, parts: Any, *_: Any) -> "Wrapped":
        return cls(parts["packed"], parts["scale"])

    @classmethod
    def __torch_dispatch__(cls, function: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            return cls(given[0].packed, given[0].scale)
        plain = [one.packed * one.scale if isinstance(one, cls) else one for one in given]
        return function(*plain, **(named or {}))


def quantised() -> torch.nn.Linear:
    module = torch.nn.Linear(64, 32, bias=False)
    packed = torch.randint(-8, 8, (32, 64), dtype=torch.int8)
    weight = Wrapped(packed, torch.full((32, 1), 0.5))
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    return module.eval()


def test_weights_that_wrap_other_tensors_are_counted_and_leave_their_memory() -> None:
    module = quantised()
    x = torch.randn(3, 64)
    before = module(x)
    assert storage_bytes(module.parameters()) == 32 * 64 + 32 * 4
    assert can_offload(module)
    parked = offload(module, pinned=False)
    assert storage_bytes(module.parameters()) == 0
    restore(parked)
    assert torch.equal(module(x), before)


def test_weights_that_hide_what_they_wrap_stay_and_are_counted_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Wrapped, "__tensor_flatten__")
    module = quantised()
    assert storage_bytes(module.parameters()) == 32 * 64 * 4
    assert not can_offload(module)
