"""What the daemon answers. Sizes are bytes and times are seconds, as the field names say."""

from typing import Any

import msgspec

from sire.protocol.counts import ModelEvent, ModelHistory, ModelMetrics, ModelStats, StatsTotals
from sire.protocol.requests import Message
from sire.spec import Job, JobState, ModelSpec, Signature, TensorSpec


class Failure(Message, frozen=True, tag="error"):
    """Any request can be answered with this."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}


class Done(Message, frozen=True, tag="done"):
    """It is done, and there is nothing to tell."""


class Unloaded(Message, frozen=True, tag="unloaded"):
    """How many instances were ended."""

    instances: int


class InstanceInfo(Message, frozen=True, tag="instance"):
    """One process holding one model.

    Attributes:
        state: waiting (for memory), loading, ready, leased, busy, suspending (moving to main
            memory), asleep, waking, stopping.
        memory_bytes: what it is charged on its device.
        expires_in_seconds: until it is unloaded for want of use; None when never.
        wait_seconds: what a request that came now would wait for the model; None when unknown.
        loading_percent: how much of its files has been read, ``loading_bytes`` of
            ``loading_total_bytes``; None where it does not load, or has not told yet.
        tier: where its weights are: device, dram (asleep there, or on the way) or disk.
        dram_bytes: main memory it is charged for sleeping there, or kept for the next time.
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


class ModelInfo(Message, frozen=True, tag="model"):
    """One registered model and how it stands.

    Attributes:
        state: unloaded, or what its liveliest instance does (see InstanceInfo).
        tier: device, dram or disk: the nearest to a device that it has weights in.
        footprint_bytes: what a load of it will reserve, and ``footprint_source`` says by what
            right: declared, learned or estimated.
        signature: declared, or as the runtime reported it after the last load.
        failed_loads: how often in a row it could not be loaded; ``crashes`` how often its process
            ended by itself since it last answered.
        retry_seconds: until it is loaded again, unless by hand; None if it is whenever wanted.
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


class DeviceFit(msgspec.Struct, frozen=True):
    """How a model would fare on one device; sizes in bytes.

    Attributes:
        source: by what right ``need_bytes`` is believed: declared, learned from earlier loads of
            the same content, or estimated from its headers.
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
    """What a model would need, on each device that it may go to.

    ``problem`` says why its own code could not be asked: its files' size was taken then.
    """

    path: str
    runtime: str
    format: str
    weight_bytes: int
    devices: tuple[DeviceFit, ...]
    problem: str = ""


class ModelList(Message, frozen=True, tag="models"):
    """Every registered model, by name, and every registry file that cannot be read."""

    models: tuple[ModelInfo, ...]
    damaged: dict[str, str] = {}


class InstanceList(Message, frozen=True, tag="instances"):
    """Every instance, longest used first."""

    instances: tuple[InstanceInfo, ...]


class Prediction(Message, frozen=True, tag="prediction"):
    """The answer's header; its payload follows in the next frames.

    Attributes:
        compute_seconds: decoding, forward pass and encoding, in the worker.
        queue_seconds: waiting, and loading where that was needed.
        cached: it is the answer to an earlier request that asked the same; both are 0 then.
    """

    content_type: str
    tensors: tuple[TensorSpec, ...] = ()
    compute_seconds: float = 0.0
    queue_seconds: float = 0.0
    cached: bool = False


class Part(Message, frozen=True, tag="part"):
    """A part of an answer that is still being made; its payload follows in the next frames."""

    content_type: str
    tensors: tuple[TensorSpec, ...] = ()


class Leased(Message, frozen=True, tag="leased"):
    """An instance is held for the client; ``lease`` goes with its predictions and its release."""

    lease: int
    instance: int


class PoolReport(Message, frozen=True, tag="pool_report"):
    """The instances of one model.

    Attributes:
        available: loaded, and free for anybody.
        in_use: leased, or at work.
        total: loaded or loading.
        max_instances: how many there may be.
    """

    available: int
    in_use: int
    total: int
    max_instances: int


class StatsReport(Message, frozen=True, tag="stats_report"):
    """What was counted, by model and in all."""

    models: tuple[ModelStats, ...]
    totals: StatsTotals


class HistoryReport(Message, frozen=True, tag="history_report"):
    """What models did, in steps of ``step_seconds``, the oldest first."""

    step_seconds: int
    steps: tuple[ModelHistory, ...]


class GpuReadings(msgspec.Struct, frozen=True):
    """What only a GPU tells; None where the driver does not say."""

    utilization_percent: float | None
    temperature_celsius: float | None
    power_watts: float | None


class DeviceInfo(msgspec.Struct, frozen=True):
    """One device as the scheduler sees it.

    Attributes:
        kind: cpu or cuda.
        total_bytes: what the hardware has; ``capacity_bytes``: what sire may use of it.
        used_bytes: charged to instances; ``foreign_bytes``: taken by others.
        free_bytes: what a load could get now without unloading anything.
        standby: workers that are ready there without a model.
        bounded_by: the setting that makes the capacity what it is.
    """

    name: str
    kind: str
    hardware: str
    uuid: str
    total_bytes: int
    capacity_bytes: int
    used_bytes: int
    foreign_bytes: int
    free_bytes: int
    available: bool
    cores: tuple[int, ...] = ()
    utilization_percent: float | None = None
    gpu: GpuReadings | None = None
    standby: int = 0
    bounded_by: str = ""


class DeviceList(Message, frozen=True, tag="devices_report"):
    """Every device, and the placement strategy in force."""

    devices: tuple[DeviceInfo, ...]
    strategy: str


class CheckStep(msgspec.Struct, frozen=True):
    """Something that was tried and works, and how long it took."""

    step: str
    seconds: float


class HealthReport(Message, frozen=True, tag="health_report"):
    """How the daemon is.

    Attributes:
        status: ok, starting (the zygote still imports its frameworks) or draining.
        loaded: how many models are in memory; ``max_models`` how many may be, 0 for as many as fit.
        checks: what was tried, where that was asked for; all of it works.
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


class JobProgress(msgspec.Struct, frozen=True):
    """A job that is running, or queued to; ``seconds`` is since when."""

    job: str
    model: str
    state: JobState
    seconds: float
    source: str = ""


class TopReport(Message, frozen=True, tag="top_report"):
    """Everything the live view draws.

    Attributes:
        events: what happened to models after the event that the request named.
        jobs: those that workers have, and then those that are next, a few.
    """

    health: HealthReport
    devices: tuple[DeviceInfo, ...]
    instances: tuple[InstanceInfo, ...]
    stats: StatsReport
    events: tuple[ModelEvent, ...] = ()
    jobs: tuple[JobProgress, ...] = ()


class Setting(msgspec.Struct, frozen=True):
    """One setting: its value as text, and where it came from (default, file, SIRE_…, flag)."""

    key: str
    value: str
    source: str


class ConfigReport(Message, frozen=True, tag="config_report"):
    """Every setting in force."""

    path: str
    settings: tuple[Setting, ...]


class Submitted(Message, frozen=True, tag="submitted"):
    """These jobs are kept and will be run, whatever happens to the daemon; in the order sent."""

    jobs: tuple[str, ...]


class JobList(Message, frozen=True, tag="jobs"):
    """Jobs, the latest first."""

    jobs: tuple[Job, ...]


class JobReport(Message, frozen=True, tag="job"):
    """One job; if it still waits, ``ahead`` says how many of its model will run before it.

    ``wait_seconds`` is how long that will take, by what was measured so far; None where nobody
    can tell.
    """

    job: Job
    ahead: int | None = None
    wait_seconds: float | None = None


class JobIds(Message, frozen=True, tag="job_ids"):
    """The ids of some jobs."""

    jobs: tuple[str, ...]


class JobEnd(msgspec.Struct, frozen=True):
    """That a job has ended: complete, failed (``error`` is the code of why) or cancelled."""

    job: str
    state: JobState
    error: str = ""


class JobEnds(Message, frozen=True, tag="job_ends"):
    """The jobs that have ended, of those waited for."""

    ended: tuple[JobEnd, ...]


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
    | EstimateReport
    | ModelList
    | InstanceList
    | Prediction
    | Part
    | Leased
    | PoolReport
    | StatsReport
    | HistoryReport
    | DeviceList
    | HealthReport
    | TopReport
    | MetricsReport
    | ConfigReport
    | Submitted
    | JobList
    | JobReport
    | JobIds
    | JobEnds
)
