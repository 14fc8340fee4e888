"""The replies of the daemon. Sizes are bytes and times are seconds, as field names say."""

from typing import Any

import msgspec

from sire.protocol.aliases import AliasList, AliasState
from sire.protocol.counts import ModelEvent, ModelHistory, ModelMetrics, ModelStats, StatsTotals
from sire.protocol.devices import DeviceInfo, DeviceList
from sire.protocol.jobs import (
    JobCounts,
    JobEnds,
    JobIds,
    JobList,
    JobProgress,
    JobReport,
    Submitted,
)
from sire.protocol.message import Message
from sire.protocol.services import ServiceInfo, ServiceList
from sire.spec import ModelSpec, Signature, TensorSpec


class Failure(Message, frozen=True, tag="error"):
    """The error of a request of any kind."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}


class Done(Message, frozen=True, tag="done"):
    """The request succeeded, and has no result."""


class Unloaded(Message, frozen=True, tag="unloaded"):
    """The number of instances that ended."""

    instances: int


class InstanceInfo(Message, frozen=True, tag="instance"):
    """One process holding one model.

    Attributes:
        state: waiting (for memory), loading, ready, leased, busy, suspending (moving to main
            memory), asleep, waking, stopping.
        memory_bytes: memory charged on its device.
        expires_in_seconds: time until it is unloaded because it is idle; None for never.
        wait_seconds: estimated wait of a request that arrives now; None if it is unknown.
        loading_percent: share of its files that has been read, ``loading_bytes`` of
            ``loading_total_bytes``; None if it is not loading, or has not reported yet.
        tier: where its weights are: device, dram (asleep, or moving there) or disk.
        dram_bytes: main memory charged for its sleep, or reserved for the next one.
        changed_files: files that were found to have changed since the model was registered, when
            this instance was loaded from them.
        addresses: the URLs of the services that serve the model.
    """

    instance: int
    model: str
    device: str
    state: str
    pid: int | None
    memory_bytes: int
    uptime_seconds: float
    idle_seconds: float
    expires_in_seconds: float | None
    load_seconds: float | None
    requests: int
    queued: int
    pinned: bool
    wait_seconds: float | None = None
    loading_percent: float | None = None
    loading_bytes: int | None = None
    loading_total_bytes: int | None = None
    tier: str = "device"
    dram_bytes: int = 0
    changed_files: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class ModelInfo(Message, frozen=True, tag="model"):
    """One registered model and its state.

    Attributes:
        model: its options; those not specified have the value of ``[defaults]``.
        state: unloaded, or the state of its most active instance (see InstanceInfo).
        footprint_bytes: memory that a load reserves; ``footprint_source`` is declared, learned or
            estimated.
        signature: as declared, or as the runtime reported it after the last load.
        tier: device, dram or disk: the tier nearest to a device that holds its weights.
        failed_loads: number of consecutive failed loads.
        crashes: number of unexpected ends of its process since its last answer.
        retry_seconds: time until a request may load it again; None if it may now.
        defaulted: names of the options that have the value of ``[defaults]``.
        changed_files: files that differ from those that it was registered or last loaded with; only
            in the reply to Show.
        files_taken_anew_at: when files that had changed were last registered anew, in seconds since
            the epoch; None if they never changed.
        never_fits: why it needs more memory than its devices or its group can ever have free; ""
            if it does not; only in the reply to Register.
        load_seconds: how long its loads took on average; None before the first.
        serves_http: a program holds it that any client can talk to while it has a slot (TakeSlot).
        addresses: the URLs of the services that serve it.
    """

    model: ModelSpec
    state: str
    instances: tuple[InstanceInfo, ...]
    footprint_bytes: int
    footprint_source: str
    signature: Signature
    last_error: str | None
    tier: str = "disk"
    failed_loads: int = 0
    crashes: int = 0
    retry_seconds: float | None = None
    defaulted: tuple[str, ...] = ()
    changed_files: tuple[str, ...] = ()
    files_taken_anew_at: float | None = None
    never_fits: str = ""
    load_seconds: float | None = None
    serves_http: bool = False
    addresses: tuple[str, ...] = ()


class VerifiedFile(msgspec.Struct, frozen=True):
    """One file of a model, compared with what was registered.

    Attributes:
        state: unchanged, changed, new or missing; "recorded" if its hash was not known before and
            its size and date are unchanged.
        sha256: of its content now; "" if it is missing.
    """

    path: str
    state: str
    size_bytes: int
    sha256: str


class VerifyReport(Message, frozen=True, tag="verify_report"):
    """The files of a model. ``unchanged`` is whether all are those that were registered."""

    model: str
    unchanged: bool
    files: tuple[VerifiedFile, ...]


class DeviceFit(msgspec.Struct, frozen=True):
    """Whether a model fits on one device; sizes in bytes.

    Attributes:
        source: source of ``need_bytes``: declared, learned from earlier loads of the same content,
            or estimated from its headers.
        fits: now; after-eviction of ``evicts``; not-now, while others hold the memory; or never.
    """

    device: str
    need_bytes: int
    source: str
    fits: str
    capacity_bytes: int
    free_bytes: int
    evicts: tuple[str, ...] = ()


class EstimateReport(Message, frozen=True, tag="estimate"):
    """The estimated memory of a model on each device that it may be loaded on.

    ``problem`` is the reason why its own code gave no estimate, so that the size of its files was
    used; "" if there is none.
    """

    path: str
    runtime: str
    format: str
    weight_bytes: int
    devices: tuple[DeviceFit, ...]
    problem: str = ""


class ModelList(Message, frozen=True, tag="models"):
    """All models and aliases by name, and the errors of registry files that cannot be read."""

    models: tuple[ModelInfo, ...]
    damaged: dict[str, str] = {}
    aliases: tuple[AliasState, ...] = ()


class InstanceList(Message, frozen=True, tag="instances"):
    """All instances, the least recently used first."""

    instances: tuple[InstanceInfo, ...]


class Prediction(Message, frozen=True, tag="prediction"):
    """The header of an answer; its payload follows in the next frames.

    Attributes:
        compute_seconds: time in the worker for decoding, forward pass and encoding.
        queue_seconds: time of waiting, including loading.
        cached: whether it is the answer to an earlier request with the same input; both times are
            0 then.
        model: the model that answered, which an alias may stand for.
    """

    content_type: str
    tensors: tuple[TensorSpec, ...] = ()
    compute_seconds: float = 0.0
    queue_seconds: float = 0.0
    cached: bool = False
    model: str = ""


class Part(Message, frozen=True, tag="part"):
    """A part of an incomplete answer; its payload follows in the next frames."""

    content_type: str
    tensors: tuple[TensorSpec, ...] = ()


class Leased(Message, frozen=True, tag="leased"):
    """A lease of an instance; predictions in it and Release name ``lease``."""

    lease: int
    instance: int


class SlotTaken(Message, frozen=True, tag="slot"):
    """A slot of a program.

    Attributes:
        slot: its number, for FreeSlot.
        url: where the program serves, like http://127.0.0.1:40001, without a path.
    """

    slot: int
    url: str


class PoolReport(Message, frozen=True, tag="pool_report"):
    """The instances of one model.

    Attributes:
        available: loaded and idle.
        in_use: leased or busy.
        total: loaded or loading.
        max_instances: the most instances.
    """

    available: int
    in_use: int
    total: int
    max_instances: int


class StatsReport(Message, frozen=True, tag="stats_report"):
    """Statistics by model, and their totals."""

    models: tuple[ModelStats, ...]
    totals: StatsTotals


class HistoryReport(Message, frozen=True, tag="history_report"):
    """The activity of models in steps of ``step_seconds``, the oldest first."""

    step_seconds: int
    steps: tuple[ModelHistory, ...]


class CheckStep(msgspec.Struct, frozen=True):
    """A test that passed, and its duration."""

    step: str
    seconds: float


class HealthReport(Message, frozen=True, tag="health_report"):
    """The health of the daemon.

    Attributes:
        status: ok, starting (the zygote is importing frameworks) or draining.
        problems: problems that do not stop the daemon.
        checks: the tests of a deep check, all of which passed.
        loaded: number of loaded models; ``max_models`` is their limit, 0 for none.
        addresses: the URLs of all services.
    """

    status: str
    version: str
    pid: int
    uptime_seconds: float
    memory_bytes: int
    models: int
    instances: int
    queued: int
    socket: str
    python: str
    problems: tuple[str, ...] = ()
    checks: tuple[CheckStep, ...] = ()
    loaded: int = 0
    max_models: int = 0
    addresses: tuple[str, ...] = ()


class TopReport(Message, frozen=True, tag="top_report"):
    """Everything that the live view shows.

    Attributes:
        events: events of models after the one that the request named.
        jobs: running jobs, and then a few of the next ones.
    """

    health: HealthReport
    devices: tuple[DeviceInfo, ...]
    instances: tuple[InstanceInfo, ...]
    stats: StatsReport
    events: tuple[ModelEvent, ...] = ()
    jobs: tuple[JobProgress, ...] = ()


class Setting(msgspec.Struct, frozen=True):
    """One setting: its value as text, and its source (default, file, SIRE_…, flag)."""

    key: str
    value: str
    source: str


class ConfigReport(Message, frozen=True, tag="config_report"):
    """All settings in force."""

    path: str
    settings: tuple[Setting, ...]


class MetricsReport(Message, frozen=True, tag="metrics_report"):
    """Everything that is exported to Prometheus."""

    health: HealthReport
    devices: tuple[DeviceInfo, ...]
    instances: tuple[InstanceInfo, ...]
    models: tuple[ModelMetrics, ...]


Reply = (
    Failure
    | Done
    | Unloaded
    | InstanceInfo
    | ModelInfo
    | VerifyReport
    | EstimateReport
    | ModelList
    | InstanceList
    | Prediction
    | Part
    | Leased
    | SlotTaken
    | PoolReport
    | StatsReport
    | HistoryReport
    | DeviceList
    | HealthReport
    | TopReport
    | MetricsReport
    | ConfigReport
    | ServiceInfo
    | ServiceList
    | Submitted
    | JobList
    | JobReport
    | JobIds
    | JobCounts
    | JobEnds
    | AliasList
)
