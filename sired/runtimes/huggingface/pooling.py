"""Pools one vector per token into one per text.

The poolings and their names are those of sentence-transformers (``Pooling``). Sums are computed in
single precision.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

Tensor = torch.Tensor


def pool(states: Tensor, mask: Tensor, names: Sequence[str]) -> Tensor:
    """One vector per row: the poolings, concatenated.

    Args:
        states: [rows, tokens, width].
        mask: [rows, tokens], 1 for tokens and 0 for padding.
        names: keys of ``POOLINGS``.

    Returns:
        [rows, width * poolings], of the states' dtype.
    """
    found = [POOLINGS[name](states.float(), mask) for name in names]
    return torch.cat(found, dim=-1).to(states.dtype)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / mask.sum(1, keepdim=True).clamp(min=1)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()


def _sum(states: Tensor, weights: Tensor) -> Tensor:
    return (states * weights.unsqueeze(-1)).sum(1)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean, weighted by the position of each token."""
    weights = mask * mask.cumsum(1)
    return _sum(states, weights) / weights.sum(1, keepdim=True).clamp(min=1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[torch.arange(len(states)), mask.int().argmax(1)]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(1)
    return states[torch.arange(len(states)), last]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "cls": _first,
    "max": _max,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
