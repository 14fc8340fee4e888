"""The figures and the policy the brain decides by."""

from dataclasses import dataclass, field

from sired.scheduler.eviction import Policy, lru

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds and delays; sizes in bytes, times in seconds.

    Attributes:
        pipeline: requests handed to one worker at once: one runs, the others are at hand.
        patience: how long a busy model keeps its place while another waits for its memory.
        load_timeout: how long a load may take before its worker is killed.
        hung_after: how long past its deadline a request may hold its worker.
        file_factor: a never-measured model needs this times its weights, plus ``overhead``
            by device kind (a process, a CUDA context).
        eviction: what has to go first when memory is short.
        default_keep_alive: how long a model may idle where it does not say itself.
    """

    queue_per_model: int = 1000
    queue_total: int = 10_000
    pipeline: int = 2
    patience: float = 1.0
    load_timeout: float = 600.0
    hung_after: float = 60.0
    file_factor: float = 1.3
    overhead: dict[str, int] = field(default_factory=lambda: {"cpu": 32 * MIB, "cuda": 512 * MIB})
    eviction: Policy = lru
    default_keep_alive: float = 300.0
