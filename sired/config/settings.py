"""All settings, with their kinds and defaults. A key is the encoded name of a field."""

from typing import Annotated, Any

import msgspec

from sire.options.table import WITH_DEFAULTS
from sire.values import CORES, DURATION, FACTOR, NAMES, SIZE, SWITCH, TEXT, WORD, one_of, whole

_MIB = 1024**2

Size = Annotated[int, SIZE]
Duration = Annotated[float, DURATION]
Limit = Annotated[int, whole(1)]


class DaemonSettings(msgspec.Struct, frozen=True):
    """The daemon itself.

    Attributes:
        grace_seconds: how long a stopping daemon waits for running requests.
        log_level: the least severe level that is logged.
        max_message_bytes: the largest payload accepted.
        max_decoded_bytes: the largest input after decoding.
        hung_after: seconds after its deadline or cancellation at which a running request's worker
            is killed.
        load_timeout: seconds that a load may make no progress.
        retry_after: seconds of backoff of a model that failed to load or keeps crashing; doubled
            with each further failure.
        retry_most: the longest backoff, in seconds.
        preload: models to load when the daemon starts, in this order.
        restore: whether the models that were loaded when the daemon last ended are loaded.
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
    """Policies of the scheduler, by name.

    Attributes:
        strategy: selects the device of a model.
        eviction: selects the models to unload when memory is short.
        routing: selects the instance of a request.
        most_instances: the most instances of a model with ``auto``.
        shrink_after: seconds that an instance beyond a model's minimum may be idle.
    """

    strategy: Annotated[str, WORD] = "least-memory-used"
    eviction: Annotated[str, WORD] = "lru"
    routing: Annotated[str, WORD] = "least-loaded"
    most_instances: Limit = 8
    shrink_after: Duration = 30.0


class LimitSettings(msgspec.Struct, frozen=True):
    """Limits of all models together.

    Attributes:
        max_models: the most models loaded at once; 0 for as many as fit.
        max_memory_percent: the share of each device's memory that models may use.
    """

    max_models: Annotated[int, whole(0)] = 0
    max_memory_percent: Annotated[int, whole(1, 100)] = 100


class MemorySettings(msgspec.Struct, frozen=True):
    """Memory that is reserved or charged, in bytes.

    Attributes:
        reserve_cpu: main memory reserved for the system.
        reserve_gpu: memory reserved for other processes on each GPU.
        cuda_context: charge for a GPU process that has not been measured.
        cpu_process: charge for a CPU process without its weights, before it is measured.
        file_factor: memory of a model that has not been measured, as a multiple of its weights.
    """

    reserve_cpu: Size = 256 * _MIB
    reserve_gpu: Size = 512 * _MIB
    cuda_context: Size = 512 * _MIB
    cpu_process: Size = 32 * _MIB
    file_factor: Annotated[float, FACTOR] = 1.3


class TierSettings(msgspec.Struct, frozen=True):
    """Tiers below the devices; ``dram`` is main memory for sleeping models, in bytes."""

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
    """Limits of waiting requests, and their order.

    Attributes:
        per_model: the most requests waiting for one model.
        total: the most requests waiting in all.
        memory: bytes in the inputs above 64 KiB of all unanswered requests together.
        ageing: seconds after which a waiting request rises by one priority.
        patience: seconds that a busy model keeps its place while another waits for it.
        turn_requests: the most requests it serves in that time.
    """

    per_model: Limit = 1000
    total: Limit = 10_000
    memory: Size = 256 * _MIB
    ageing: Duration = 10.0
    patience: Duration = 1.0
    turn_requests: Limit = 1000


class CacheSettings(msgspec.Struct, frozen=True):
    """The cache of answers; ``memory`` is its size in bytes for all models, 0 to disable it."""

    memory: Size = 256 * _MIB


class HistorySettings(msgspec.Struct, frozen=True):
    """Each model's activity by minute, kept for ``keep_for`` seconds; 0 disables it."""

    keep_for: Duration = 7 * 86_400.0


class MetricsSettings(msgspec.Struct, frozen=True):
    """The endpoint from which Prometheus fetches metrics.

    Attributes:
        port: the port to listen on; 0 disables it.
        host: the address to listen on.
    """

    port: Annotated[int, whole(0)] = 0
    host: Annotated[str, WORD] = "127.0.0.1"


class HttpSettings(msgspec.Struct, frozen=True):
    """The gateway that starts with the daemon, as ``sire serve`` does.

    Attributes:
        listen: the address that it listens on, such as 127.0.0.1:8470; empty for none.
        grpc: the address for gRPC; empty for none.
        keys: the file of the API keys that it demands; empty for the default.
        tls_cert: the file with the certificate chain for HTTPS, and ``tls_key`` the one with its
            key; empty for plain HTTP.
        loading_wait: seconds that a request waits while its model is loaded.
        cors: the origins of other sites whose pages may use it.

    Paths that are not absolute start at the directory of the settings file.
    """

    listen: Annotated[str, TEXT] = ""
    grpc: Annotated[str, TEXT] = ""
    keys: Annotated[str, TEXT] = ""
    tls_cert: Annotated[str, TEXT] = ""
    tls_key: Annotated[str, TEXT] = ""
    loading_wait: Duration = 60.0
    cors: Annotated[tuple[str, ...], NAMES] = ()


class JobSettings(msgspec.Struct, frozen=True):
    """Jobs, and how long finished ones are kept.

    Attributes:
        timeout: seconds that a job may take once it starts.
        keep_for: seconds that a job is kept after its end.
        keep_count: the most finished jobs kept; the oldest are removed first.
        keep_bytes: the most bytes of results kept.
    """

    timeout: Duration = 3600.0
    keep_for: Duration = 7 * 86_400.0
    keep_count: Limit = 100_000
    keep_bytes: Size = 10 * 1024 * _MIB


class WorkerSettings(msgspec.Struct, frozen=True):
    """Restrictions of models' processes.

    Attributes:
        environment: variables passed to them besides the usual ones: names, or prefixes with ``*``.
        limits: whether their memory, files and core files are limited.
        control_groups: whether each has its own control group, below that of the daemon.
        no_new_privileges: whether they cannot gain privileges, for example by ``sudo``.
    """

    environment: Annotated[tuple[str, ...], NAMES] = ()
    limits: Annotated[bool, SWITCH] = True
    no_new_privileges: Annotated[bool, SWITCH] = True
    control_groups: Annotated[bool, SWITCH] = False


class DeviceSettings(msgspec.Struct, frozen=True):
    """A physical device with a limit, or a part of one under its own name.

    Attributes:
        kind: cpu or cuda.
        index: number of the GPU in PCI bus order; 0 for the CPU.
        memory: the most bytes that models may use there; None for all of it.
        cores: the CPU cores its workers run on; empty for all.
        enabled: whether models are placed there.
        standby: number of workers kept ready there without a model.
    """

    kind: Annotated[str, one_of("cpu", "cuda")]
    index: Annotated[int, whole(0)] = 0
    memory: Annotated[int | None, SIZE] = None
    cores: Annotated[tuple[int, ...], CORES] = ()
    enabled: Annotated[bool, SWITCH] = True
    standby: Annotated[int, whole(0)] = 0


class GroupSettings(msgspec.Struct, frozen=True):
    """A group of models; ``memory`` is what they may hold on all devices together, in bytes."""

    memory: Size


class Settings(msgspec.Struct, frozen=True):
    """All settings; ``devices`` and ``groups`` by name, as configured."""

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
    http: HttpSettings = HttpSettings()
    workers: WorkerSettings = WorkerSettings()
    devices: dict[str, DeviceSettings] = {}
    groups: dict[str, GroupSettings] = {}
