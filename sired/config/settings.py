"""Every setting there is, with its kind and its default. A key is the field's encoded name."""

from typing import Annotated, Any

import msgspec

from sire.options.table import WITH_DEFAULTS
from sire.values import CORES, DURATION, FACTOR, NAMES, SIZE, SWITCH, WORD, one_of, whole

_MIB = 1024**2

Size = Annotated[int, SIZE]
Duration = Annotated[float, DURATION]
Limit = Annotated[int, whole(1)]


class DaemonSettings(msgspec.Struct, frozen=True):
    """The daemon itself.

    Attributes:
        grace_seconds: how long a stopping daemon waits for running requests.
        max_message_bytes: the largest request taken.
        max_decoded_bytes: what an input may take once it is decoded.
        hung_after: seconds a running request may hold its worker beyond its deadline, or its
            cancelling, before the worker is killed.
        load_timeout: seconds a load may make no progress.
        retry_after: seconds a model is left alone that could not be loaded, or keeps crashing;
            twice as long each time it happens again.
        retry_most: how long at most.
        preload: models to load when it starts, in this order.
        restore: whether to load what was loaded when it last ended.
    """

    grace_seconds: Duration = msgspec.field(default=10.0, name="grace")
    log_level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    max_message_bytes: Size = msgspec.field(default=1024 * _MIB, name="max_message")
    max_decoded_bytes: Size = msgspec.field(default=4096 * _MIB, name="max_decoded")
    hung_after: Duration = 60.0
    load_timeout: Duration = 600.0
    retry_after: Duration = 1.0
    retry_most: Duration = 60.0
    preload: Annotated[tuple[str, ...], NAMES] = ()
    restore: Annotated[bool, SWITCH] = False


class PlacementSettings(msgspec.Struct, frozen=True):
    """Where models and requests go, and which models go for others; names the scheduler knows.

    Attributes:
        strategy: which device a model goes to.
        eviction: which models end when memory is short.
        routing: which instance of a model a request goes to.
        most_instances: how many instances a model with ``auto`` has at most.
        shrink_after: seconds an instance beyond a model's least number may idle.
    """

    strategy: Annotated[str, WORD] = "least-memory-used"
    eviction: Annotated[str, WORD] = "lru"
    routing: Annotated[str, WORD] = "least-loaded"
    most_instances: Limit = 8
    shrink_after: Duration = 30.0


class LimitSettings(msgspec.Struct, frozen=True):
    """What all models together may take.

    Attributes:
        max_models: how many are loaded at once at most; 0 for as many as fit.
        max_memory_percent: how much of the memory that each device has.
    """

    max_models: Annotated[int, whole(0)] = 0
    max_memory_percent: Annotated[int, whole(1, 100)] = 100


class MemorySettings(msgspec.Struct, frozen=True):
    """What is kept free and what is charged; bytes.

    Attributes:
        reserve_cpu: left to the system on the CPU.
        reserve_gpu: left to others on each GPU.
        cuda_context: charged for a GPU process that has not been measured.
        cpu_process: charged for a CPU process, beside its weights, that has not been measured.
        file_factor: memory of an unmeasured model by the size of its weights.
    """

    reserve_cpu: Size = 256 * _MIB
    reserve_gpu: Size = 512 * _MIB
    cuda_context: Size = 512 * _MIB
    cpu_process: Size = 32 * _MIB
    file_factor: Annotated[float, FACTOR] = 1.3


class TierSettings(msgspec.Struct, frozen=True):
    """Where models are that are on no device; ``dram`` bytes of main memory to sleep in."""

    dram: Size = 0


_ModelDefaults: Any = msgspec.defstruct(
    "_ModelDefaults",
    [(one.name, Annotated[Any, one.kind], one.default) for one in WITH_DEFAULTS],
    frozen=True,
)


class DefaultSettings(_ModelDefaults, frozen=True):  # type: ignore[call-arg,misc]
    """Values of options that a model, or a request, does not specify.

    Besides those below there is one attribute for each of ``sire.options.table.WITH_DEFAULTS``.

    Attributes:
        keep_alive: seconds that a model stays loaded after its last use; ``math.inf`` for ever.
        timeout: seconds that a request may take; ``math.inf`` for no limit.
    """

    keep_alive: Duration = 300.0
    timeout: Duration = 120.0


class QueueSettings(msgspec.Struct, frozen=True):
    """How many requests may wait, for one model and in all, and in what order.

    Attributes:
        ageing: seconds in which a waiting request climbs one class of priority.
        patience: seconds a busy model keeps its place while another waits for it.
        turn_requests: how many requests it serves meanwhile at most.
    """

    per_model: Limit = 1000
    total: Limit = 10_000
    ageing: Duration = 10.0
    patience: Duration = 1.0
    turn_requests: Limit = 1000


class CacheSettings(msgspec.Struct, frozen=True):
    """Answers kept for models that are cached; ``memory`` in bytes for all together, 0 for none."""

    memory: Size = 256 * _MIB


class HistorySettings(msgspec.Struct, frozen=True):
    """What models did in each minute; kept for ``keep_for`` seconds, 0 for none."""

    keep_for: Duration = 7 * 86_400.0


class MetricsSettings(msgspec.Struct, frozen=True):
    """Whether and where Prometheus may fetch metrics.

    Attributes:
        port: to listen on; 0 for none.
        host: the address of the interface it is on.
    """

    port: Annotated[int, whole(0)] = 0
    host: Annotated[str, WORD] = "127.0.0.1"


class JobSettings(msgspec.Struct, frozen=True):
    """Jobs, and how long finished ones are kept.

    Attributes:
        timeout: seconds one job may take once its turn has come.
        keep_for: seconds after its end.
        keep_count: how many, the latest ones.
        keep_bytes: how much the results of the latest ones may take together.
    """

    timeout: Duration = 3600.0
    keep_for: Duration = 7 * 86_400.0
    keep_count: Limit = 100_000
    keep_bytes: Size = 10 * 1024 * _MIB


class WorkerSettings(msgspec.Struct, frozen=True):
    """What models' processes may see and do.

    Attributes:
        environment: variables they see beside the usual ones: names, or beginnings with ``*``.
        limits: whether they have limits of memory and files, and none writes a core file.
        control_groups: whether each has a control group of its own, below that of the daemon.
        no_new_privileges: whether nothing they start gains rights, as by ``sudo``.
    """

    environment: Annotated[tuple[str, ...], NAMES] = ()
    limits: Annotated[bool, SWITCH] = True
    no_new_privileges: Annotated[bool, SWITCH] = True
    control_groups: Annotated[bool, SWITCH] = False


class DeviceSettings(msgspec.Struct, frozen=True):
    """A physical device with a limit, or a part of one under a name of its own.

    Attributes:
        kind: cpu or cuda.
        index: CUDA's number of the GPU, in PCI bus order; 0 for the CPU.
        memory: most bytes models may take there; None for all of it.
        cores: the CPU cores its workers run on; empty for all.
        enabled: False hides it.
        standby: workers that are kept ready there without a model.
    """

    kind: Annotated[str, one_of("cpu", "cuda")]
    index: Annotated[int, whole(0)] = 0
    memory: Annotated[int | None, SIZE] = None
    cores: Annotated[tuple[int, ...], CORES] = ()
    enabled: Annotated[bool, SWITCH] = True
    standby: Annotated[int, whole(0)] = 0


class Settings(msgspec.Struct, frozen=True):
    """All settings; ``devices`` by name, as configured."""

    daemon: DaemonSettings = DaemonSettings()
    placement: PlacementSettings = PlacementSettings()
    limits: LimitSettings = LimitSettings()
    memory: MemorySettings = MemorySettings()
    tiers: TierSettings = TierSettings()
    defaults: DefaultSettings = DefaultSettings()
    queue: QueueSettings = QueueSettings()
    cache: CacheSettings = CacheSettings()
    jobs: JobSettings = JobSettings()
    history: HistorySettings = HistorySettings()
    metrics: MetricsSettings = MetricsSettings()
    workers: WorkerSettings = WorkerSettings()
    devices: dict[str, DeviceSettings] = {}
