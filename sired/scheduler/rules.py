"""The limits, delays and policy that the scheduler applies."""

from dataclasses import dataclass, field

from sired.scheduler.policies.eviction import Policy, lru

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits and delays; sizes in bytes, times in seconds.

    Attributes:
        queue_per_model: maximum number of requests in the queue of one model.
        queue_total: maximum number of requests in all queues together.
        queue_memory: maximum number of bytes in the inputs of all unanswered requests together.
            An input above this limit is accepted only while no other input is counted.
        pipeline: number of requests dispatched to one worker at once: one runs (or as many as the
            model's concurrency), the others are ready to follow.
        ageing: seconds in which a waiting request rises by one class: low, normal, high.
        patience: how long a busy model keeps its memory while another model waits for it.
        turn_requests: maximum number of requests that it serves meanwhile.
        max_models: maximum number of models in memory; 0 for as many as fit.
        groups: bytes that the models of a group may hold on all devices together, by its name.
        most_instances: maximum number of instances of a model that does not set its own.
        shrink_after: how long an instance beyond a model's minimum may idle.
        load_timeout: how long a load may make no progress before its worker is killed.
        hung_after: how long a request may occupy its worker after its deadline or cancellation.
        retry_after: how long a model that failed once is not loaded again (see ``backoff``).
        retry_most: the upper limit of that delay, which doubles with each failure.
        file_factor: a model that was never measured needs this many times its weights, plus the
            ``overhead`` of the kind of device (a process, a CUDA context).
        eviction: the policy that decides what is evicted first when memory is short.
        default_keep_alive: how long a model that does not set its own keep-alive may idle.
    """

    queue_per_model: int = 1000
    queue_total: int = 10_000
    queue_memory: int = 256 * MIB
    pipeline: int = 2
    ageing: float = 10.0
    patience: float = 1.0
    turn_requests: int = 1000
    max_models: int = 0
    groups: dict[str, int] = field(default_factory=dict)
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
