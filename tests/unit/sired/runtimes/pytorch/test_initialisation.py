"""A module constructed with deferred initial values is the one that Python makes, bit by bit."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sired.runtimes.pytorch.initialisation import DeferredInitialisation

WIDE = 300  # of a layer that is large enough for its initial values to be deferred


class Large(nn.Module):
    """A large layer between draws; ``prepare`` comes first, ``draw`` last."""

    drawn: torch.Tensor

    def __init__(
        self, prepare: Any = lambda: None, draw: Any = lambda module: torch.randn(3)
    ) -> None:
        super().__init__()
        prepare()
        self.layer = nn.Linear(WIDE, WIDE)
        self.register_buffer("drawn", draw(self), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layer(x) + self.drawn.sum()
        return answer


def seeded(draw: Any = lambda module: torch.randn(3)) -> Large:
    return Large(lambda: torch.manual_seed(3), draw)


def a_state() -> None:
    torch.set_rng_state(torch.Generator().manual_seed(5).get_state())


def transformer() -> nn.Module:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(64, 4, 2048, batch_first=True)
    module = nn.TransformerEncoder(layer, 2)
    module.register_buffer("drawn", torch.rand(5), persistent=False)
    return module


def embedding() -> nn.Module:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Embedding(2000, 64, padding_idx=3), nn.LSTM(64, 300, 2))
    module.register_buffer("drawn", torch.rand(5), persistent=False)
    return module


def of_many_libraries() -> nn.Module:
    """Draws with every generator that code draws with."""
    torch.manual_seed(4)
    random.seed(4)
    np.random.seed(4)  # noqa: NPY002 (what models draw from)
    module = nn.Linear(WIDE, WIDE)
    nn.init.trunc_normal_(module.weight, std=0.02)
    module.weight.data.normal_(0, 0.1)
    nn.init.orthogonal_(module.weight)
    numpy = np.random.rand()  # noqa: NPY002
    drawn = [torch.rand(1).item(), random.random(), numpy, torch.initial_seed()]
    module.register_buffer("drawn", torch.tensor(drawn, dtype=torch.float64), persistent=False)
    return module


def with_its_own_generator() -> nn.Module:
    torch.manual_seed(7)
    generator = torch.Generator().manual_seed(8)
    module = nn.Linear(WIDE, WIDE)
    nn.init.uniform_(module.weight, generator=generator)
    module.register_buffer("drawn", torch.rand(4, generator=generator), persistent=False)
    return module


def numbers_of(module: nn.Module) -> list[torch.Tensor]:
    """Its buffers that no file has, and what is drawn next."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    for name in module.state_dict():
        buffers.pop(name, None)
    return [*buffers.values(), torch.rand(3), torch.randn(20)]


@pytest.mark.parametrize(
    "make",
    [
        seeded,
        lambda: Large(a_state),
        lambda: seeded(lambda m: torch.randn(3) + m.layer.weight.abs().mean()),
        lambda: seeded(lambda m: torch.tensor(m.layer.weight.detach().numpy()[:2, :2])),
        lambda: seeded(lambda m: m.layer.weight.detach().clone()[0]),
        lambda: seeded(lambda m: torch.bernoulli(m.layer.weight.data.abs())[0]),
        transformer,
        embedding,
        of_many_libraries,
        with_its_own_generator,
    ],
    ids=["seed", "state", "read", "numpy", "clone", "data", "copies", "rnn", "libraries", "own"],
)
def test_what_a_seeded_class_draws_is_what_it_draws_in_a_process_of_its_own(
    make: Callable[..., Any],
) -> None:
    weights = {k: v.clone() for k, v in make().state_dict().items()}
    plain = make()
    plain.load_state_dict(weights)
    expected = [*numbers_of(plain), *plain.state_dict().values()]
    deferred = DeferredInitialisation()
    with deferred:
        module = make()
    deferred.load(module, weights, None)
    deferred.finish()
    found = [*numbers_of(module), *module.state_dict().values()]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "read",
    [
        lambda weight: weight.sum(),
        lambda weight: weight.detach().clone(),
        lambda weight: torch.from_numpy(weight.detach().numpy().copy()),
        lambda weight: torch.tensor(weight.tolist()),
        copy.deepcopy,
        lambda weight: torch.cat([weight, weight]),
        lambda weight: weight[torch.tensor([1, 2])],
        lambda weight: weight.view(-1)[:7] + 0,
        lambda weight: weight.to(torch.float64),
        lambda weight: torch.as_tensor(np.asarray(weight.detach()).copy()),
    ],
)
def test_values_that_nothing_random_sets_are_there_when_they_are_read(read: Any) -> None:
    def make() -> Any:
        weight = nn.Parameter(torch.empty(WIDE, WIDE))
        nn.init.constant_(weight, 0.5)
        with torch.no_grad():
            weight.mul_(3)
            weight[0].fill_(7)
        weight.data.add_(1)
        return read(weight)

    expected = make()
    with DeferredInitialisation():
        found = make()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_random_values_are_deferred_only_while_nobody_has_chosen_a_seed() -> None:
    deferred = DeferredInitialisation()
    with deferred:
        state = torch.get_rng_state()
        nn.Linear(WIDE, WIDE, bias=False)
        torch.testing.assert_close(torch.get_rng_state(), state)
        assert len(deferred._deferred) == 1
        torch.manual_seed(0)
        drawn = nn.Linear(WIDE, WIDE, bias=False).weight.detach()
    assert len(deferred._deferred) == 1
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, nn.Linear(WIDE, WIDE, bias=False).weight.detach())


def test_values_that_are_computed_late_draw_from_no_generator_that_was_seeded() -> None:
    with DeferredInitialisation():
        layer = nn.Linear(WIDE, WIDE)
        torch.manual_seed(0)
        assert float(layer.weight.detach().abs().sum()) > 0
        found = torch.rand(3)
    torch.manual_seed(0)
    torch.testing.assert_close(found, torch.rand(3))


def test_what_no_file_replaces_has_its_initial_values() -> None:
    class Listed(nn.Module):
        """Keeps parameters where PyTorch does not look for them, and has an unused layer."""

        def __init__(self) -> None:
            super().__init__()
            nn.Linear(WIDE, WIDE)
            self.hidden = [nn.Parameter(torch.empty(WIDE, WIDE))]
            nn.init.constant_(self.hidden[0], 0.25)
            self.noise = [nn.Parameter(torch.empty(WIDE, WIDE))]
            nn.init.normal_(self.noise[0])
            self.layer = nn.Linear(2, 2)

    deferred = DeferredInitialisation()
    with deferred:
        module = Listed()
    deferred.load(module, nn.Linear(2, 2).state_dict(prefix="layer."), None)
    deferred.finish()
    assert not deferred._deferred
    assert bool((module.hidden[0] == 0.25).all())
    assert 0.9 < float(module.noise[0].detach().std()) < 1.1


def test_all_that_refers_to_a_parameter_sees_the_weights_that_were_loaded() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(WIDE, WIDE, bias=False)
            self.two = nn.Linear(WIDE, WIDE, bias=False)
            self.two.weight = self.one.weight
            self.listed = [self.one.weight]
            self.flat = self.one.weight.data.view(-1)

    weights = {k: torch.full((WIDE, WIDE), 2.0) for k in ("one.weight", "two.weight")}
    deferred = DeferredInitialisation()
    with deferred:
        module = Tied()
    deferred.load(module, weights, None)
    assert module.two.weight is module.one.weight is module.listed[0]
    assert bool((module.one.weight == 2).all())
    assert bool((module.flat == 2).all())


def test_weights_are_not_copied_and_small_or_other_ones_are_converted() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Linear(WIDE, WIDE)
            self.other = nn.Linear(WIDE, WIDE)

    weights = Mixed().state_dict()
    weights["other.weight"] = weights["other.weight"].half()
    deferred = DeferredInitialisation()
    with deferred:
        module = Mixed()
    deferred.load(module, weights, None)
    assert module.large.weight.data_ptr() == weights["large.weight"].data_ptr()
    assert module.large.bias.data_ptr() != weights["large.bias"].data_ptr()
    assert module.other.weight.dtype == torch.float32
    torch.testing.assert_close(module.other.weight.detach(), weights["other.weight"].float())
