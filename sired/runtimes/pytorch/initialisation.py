"""Constructs a module without the initial values that its file replaces, unless they matter.

A class initialises its parameters when it is constructed, and the file then replaces the values.
Random numbers for a large model take seconds, and memory for its weights a second time. Its initial
values are therefore deferred, and computed only if something could depend on them:

1. Random values are deferred only while the default generator has the seed that it had at first. No
   code has chosen that seed, so numbers drawn later are as random without the deferred ones as with
   them. After a class or its module has set a seed or a state, everything is drawn as written, and
   the generator is always in the state in which it would be otherwise.
2. Values are computed before a function reads them: any function that is given the tensor or one
   that shares its memory, except those that only describe it or return a view.
3. Values that the file does not replace are computed when it has been loaded.

While the weights are loaded, ``Tensor.copy_`` to a large tensor of its own memory takes over the
memory of the source, so that weights stay mapped. Everything else is as PyTorch does it: references
to parameters stay valid, tied ones stay tied, and each weight is converted to the dtype that the
module has.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Smaller tensors are initialised at once, which costs nothing.
_LARGE = 1 << 16

# Functions that change the values of their first argument, and read no other tensor.
_DRAWS = {
    Tensor.uniform_,
    Tensor.normal_,
    torch.nn.init.uniform_,
    torch.nn.init.normal_,
    torch.nn.init.kaiming_uniform_,
}
_FILLS = {
    Tensor.fill_,
    Tensor.zero_,
    Tensor.erfinv_,
    Tensor.clamp_,
    Tensor.mul_,
    Tensor.div_,
    Tensor.add_,
    Tensor.sub_,
    torch.nn.init.constant_,
}
# Functions that do not read values. Getters and setters of attributes do not, either.
_DESCRIBE = {
    Tensor.size,
    Tensor.dim,
    Tensor.ndimension,
    Tensor.numel,
    Tensor.nelement,
    Tensor.stride,
    Tensor.storage_offset,
    Tensor.element_size,
    Tensor.is_contiguous,
    Tensor.is_floating_point,
    Tensor.is_complex,
    Tensor.requires_grad_,
    Tensor.__len__,
    Tensor.__hash__,
    Tensor.detach,
    Tensor.view,
    Tensor.t,
    Tensor.transpose,
    Tensor.narrow,
    Tensor.select,
    Tensor.chunk,
    Tensor.split,
    Tensor.unsqueeze,
    Tensor.squeeze,
    torch.detach,
    torch.numel,
    torch.is_floating_point,
    torch.is_complex,
    torch.chunk,
    torch.split,
    torch.narrow,
    torch.select,
    torch.transpose,
    torch.t,
}
_ATTRIBUTES = {"__get__", "__set__"}
# Draws again until every number is within its bounds, so that it would read deferred ones.
_TRUNCATED = "_no_grad_trunc_normal_"


@dataclass(slots=True)
class _Deferred:
    """Deferred changes of one allocation.

    Attributes:
        tensor: one that uses the allocation, and keeps it alive.
        steps: the changes, in order; each takes the tensor.
        draws: whether any of them is random.
    """

    tensor: Tensor
    steps: list[Callable[[Tensor], object]] = field(default_factory=list)
    draws: bool = False


class DeferredInitialisation(TorchFunctionMode):
    """Defers initial values while it is entered; see the module.

    Enter it before the class is imported.
    """

    def __init__(self) -> None:
        super().__init__()
        # Workers are forked from one process: without a new seed all would draw the same numbers.
        self._seed = torch.default_generator.seed()
        self._deferred: dict[int, _Deferred] = {}
        self._data: set[int] = set()
        self._loading = False
        self._kept: torch.dtype | None = None
        self._truncated = getattr(torch.nn.init, _TRUNCATED, None)

    def __enter__(self) -> Self:
        if self._truncated is not None:
            setattr(torch.nn.init, _TRUNCATED, self._draw_truncated)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)  # type: ignore[no-untyped-call]
        if self._truncated is not None:
            setattr(torch.nn.init, _TRUNCATED, self._truncated)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call one torch function, defer it, or take over the memory of a weight."""
        given = kwargs or {}
        if func in _DRAWS or func in _FILLS:
            target, rest, named = _split(args, given)
            if self._defers(func, target, rest, named):
                self._defer(target, lambda tensor: func(tensor, *rest, **named), func in _DRAWS)
                return target
        if self._loading and func is Tensor.copy_ and len(args) == 2 and not given:
            return self._copy(*args)
        if getattr(func, "__name__", "") in _ATTRIBUTES:
            self._note_data(func, args)
        elif self._deferred and func not in _DESCRIBE and not _is_view(func, args):
            self._compute_for(args)
            self._compute_for(given)
        return func(*args, **given)

    def load(
        self, module: torch.nn.Module, weights: dict[str, Any], kept: torch.dtype | None
    ) -> tuple[list[str], list[str]]:
        """Load weights into a module that was constructed in this mode.

        Args:
            module: to load them into.
            weights: in memory that belongs to the module from now on.
            kept: the dtype that floats keep; None to convert each to the dtype of its parameter.

        Returns:
            The names that are missing, and those that are not in the module.

        Raises:
            RuntimeError: shapes differ.
        """
        self._loading, self._kept = True, kept
        try:
            with self:
                missing, unexpected = module.load_state_dict(weights, strict=False)
        finally:
            self._loading = False
        return missing, unexpected

    def finish(self) -> None:
        """Compute what is still deferred and can be seen."""
        for key in list(self._deferred):
            one = self._deferred.pop(key)
            # One reference is that of ``one``, another that of the call.
            if sys.getrefcount(one.tensor) > 2 or not _is_alone(one.tensor):
                _compute(one)

    def _defers(self, func: Any, target: Any, rest: tuple[Any, ...], named: Any) -> bool:
        if not isinstance(target, Tensor) or not self._is_large_parameter(target):
            return False
        if any(isinstance(value, Tensor) for value in (*rest, *named.values())):
            return False
        if named.get("generator") is not None:
            return False
        return func not in _DRAWS or torch.default_generator.initial_seed() == self._seed

    def _is_large_parameter(self, tensor: Tensor) -> bool:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return False
        if isinstance(tensor, torch.nn.Parameter):
            return tensor.numel() > _LARGE
        key = _allocation(tensor)
        return key in self._deferred or key in self._data

    def _defer(self, target: Tensor, step: Callable[[Tensor], object], draws: bool) -> None:
        one = self._deferred.setdefault(_allocation(target), _Deferred(target))
        place = target.size(), target.stride(), target.storage_offset()
        if place == (one.tensor.size(), one.tensor.stride(), one.tensor.storage_offset()):
            one.steps.append(step)
        else:  # a view must not be kept, because it shares the memory
            one.steps.append(lambda tensor: step(tensor.detach().as_strided(*place)))
        one.draws |= draws

    def _draw_truncated(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        assert self._truncated is not None
        draw = self._truncated
        if self._defers(Tensor.normal_, tensor, args, kwargs):
            self._defer(tensor, lambda target: draw(target, *args, **kwargs), draws=True)
            return tensor
        return draw(tensor, *args, **kwargs)

    def _note_data(self, func: Any, args: tuple[Any, ...]) -> None:
        """Remember the allocation of a large parameter whose ``data`` is used."""
        owner = args[0]
        reads_data = func == Tensor.data.__get__ and isinstance(owner, torch.nn.Parameter)  # type: ignore[attr-defined]
        if reads_data and self._is_large_parameter(owner):
            self._data.add(_allocation(owner))

    def _compute_for(self, value: Any) -> None:
        """Compute what is deferred of the tensors in the arguments of a function."""
        for tensor in _tensors(value):
            if (one := self._deferred.pop(_allocation(tensor), None)) is not None:
                _compute(one)

    def _copy(self, target: Tensor, source: Tensor) -> Tensor:
        """Copy a weight, or take over its memory."""
        self._compute_for(source)
        one = self._deferred.get(_allocation(target))
        if one is not None and _fills_allocation(target):
            del self._deferred[_allocation(target)], one  # all of it is replaced
        self._compute_for(target)
        if self._takes_over(target, source):
            target.data = source.detach()
            return target
        return target.copy_(source)

    def _takes_over(self, target: Tensor, source: Tensor) -> bool:
        if target.numel() <= _LARGE and source.device == target.device:
            return False
        if target.shape != source.shape or type(source) not in {Tensor, torch.nn.Parameter}:
            return False
        if target.layout != source.layout or target.is_quantized or source.is_quantized:
            return False
        keeps = self._kept is not None and source.dtype == self._kept and target.is_floating_point()
        return (source.dtype == target.dtype or keeps) and _is_alone(target)


def _split(args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, tuple[Any, ...], Any]:
    """The tensor that a function changes, and its other arguments."""
    if args:
        return args[0], args[1:], given
    # Functions of ``torch.nn.init`` name their tensor when they pass themselves on.
    return given.get("tensor"), (), {k: v for k, v in given.items() if k != "tensor"}


def _allocation(tensor: Tensor) -> int:
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return 0
    return tensor.untyped_storage().data_ptr()


def _is_alone(tensor: Tensor) -> bool:
    """Whether no other tensor uses its memory."""
    storage = tensor.untyped_storage()
    # One use is that of the tensor, another that of ``storage``.
    return bool(torch._C._storage_Use_Count(storage._cdata) <= 2)  # noqa: SLF001 (no public name)


def _fills_allocation(tensor: Tensor) -> bool:
    return tensor.nbytes == tensor.untyped_storage().nbytes() and tensor.is_contiguous()


def _is_view(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether it is an index of a tensor that copies nothing."""
    if func is not Tensor.__getitem__:
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return all(part is None or part is ... or type(part) in {int, slice} for part in index)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _compute(one: _Deferred) -> None:
    """Make the deferred changes, without effect on the state of the default generator."""
    state = torch.default_generator.get_state() if one.draws else None
    if state is not None:
        torch.default_generator.seed()
    with torch.no_grad():
        for step in one.steps:
            step(one.tensor)
    if state is not None:
        torch.default_generator.set_state(state)
