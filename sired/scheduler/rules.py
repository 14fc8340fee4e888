"""The figures and the policy the brain decides by."""

from dataclasses import dataclass, field

from sired.scheduler.policies.eviction import Policy, lru

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds and delays; sizes in bytes, times in seconds.

    Attributes:
        pipeline: requests handed to one worker at once: one runs (or as many as its model
            takes at the same time), the others are at hand.
        ageing: seconds in which a waiting request climbs one class: low, normal, high.
        patience: how long a busy model keeps its place while another waits for its memory.
        turn_requests: how many requests it serves meanwhile at most.
        max_models: how many models are loaded at once at most; 0 for as many as fit.
        most_instances: how many instances a model has at most that does not say itself.
        shrink_after: how long an instance beyond a model's least number may idle.
        load_timeout: how long a load may make no progress before its worker is killed.
        hung_after: how long past its deadline, or its cancelling, a request may hold its worker.
        retry_after: how long a model that fails is left alone, the first time (see ``backoff``).
        retry_most: the same, after many times.
        file_factor: a never-measured model needs this times its weights, plus ``overhead``
            by device kind (a process, a CUDA context).
        eviction: what has to go first when memory is short.
        default_keep_alive: how long a model may idle where it does not say itself.
    """

    queue_per_model: int = 1000
    queue_total: int = 10_000
    pipeline: int = 2
    ageing: float = 10.0
    patience: float = 1.0
    turn_requests: int = 1000
    max_models: int = 0
    most_instances: int = 8
    shrink_after: float = 30.0
    load_timeout: float = 600.0
    hung_after: float = 60.0
    retry_after: float = 1.0
    retry_most: float = 60.0
    file_factor: float = 1.3
    overhead: dict[str, int] = field(default_factory=lambda: {"cpu": 32 * MIB, "cuda": 512 * MIB})
    eviction: Policy = lru
    default_keep_alive: float = 300.0
