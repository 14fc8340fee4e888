"""What a client can ask."""

from typing import Annotated

import msgspec

from sire.spec import JobState, KeepAlive, ModelSpec, Priority, Seconds, TensorSpec

PROTOCOL_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """What every message carries.

    Attributes:
        id: chosen by the client, returned with the reply.
        v: the protocol version.
    """

    id: str | int = ""
    v: int = PROTOCOL_VERSION


class Health(Message, frozen=True, tag="health"):
    """Ask how the daemon is; reply: HealthReport.

    With ``deep`` what a prediction needs is tried, and with a ``model`` that one, too; an error if
    any of it does not work within ``timeout`` seconds.
    """

    deep: bool = False
    model: str | None = None
    timeout: Seconds | None = None


class Register(Message, frozen=True, tag="register"):
    """Add a model; reply: ModelInfo.

    ``model.runtime``, ``format``, ``fingerprint`` and the like are worked out by the daemon.
    When ``model.model_class`` is "pickle:", the one payload frame is a cloudpickle of the class
    made by Python ``python_version``. ``explicit`` names options given with their built-in default,
    which ``[defaults]`` does not replace.
    """

    model: ModelSpec
    replace: bool = False
    python_version: str = ""
    explicit: tuple[str, ...] = ()


class Estimate(Message, frozen=True, tag="estimate"):
    """Ask what a model would need, registered or not; reply: EstimateReport.

    ``model`` is filled in as for Register, but needs neither a class nor trust: headers are read,
    and nothing in its files is run. Code of the user's own, a .py file or a class that is named,
    is asked what it will take.
    """

    model: ModelSpec
    explicit: tuple[str, ...] = ()


class Remove(Message, frozen=True, tag="remove"):
    """Unload and forget a model; reply: Done."""

    name: str


class ListModels(Message, frozen=True, tag="list"):
    """Ask for every registered model; reply: ModelList."""


class Show(Message, frozen=True, tag="show"):
    """Ask for one model; reply: ModelInfo."""

    name: str


class Load(Message, frozen=True, tag="load"):
    """Load a model now, on ``device`` if one is named; reply: InstanceInfo."""

    name: str
    device: str | None = None
    timeout: Seconds | None = None


class Unload(Message, frozen=True, tag="unload"):
    """Unload every instance of a model; reply: Unloaded, when its memory is free."""

    name: str


class Move(Message, frozen=True, tag="move"):
    """Bring a model to another tier, by hand.

    ``to`` is a device, on which it is loaded or wakes; ``dram``, where it sleeps; or ``disk``.
    Reply: InstanceInfo when it is there; for ``disk`` Unloaded when its memory is free.
    """

    name: str
    to: str
    timeout: Seconds | None = None


class Reload(Message, frozen=True, tag="reload"):
    """Read the model's file again: unload, then load; reply: InstanceInfo."""

    name: str
    timeout: Seconds | None = None


class Predict(Message, frozen=True, tag="predict"):
    """Run a model on the payload that follows; reply: Prediction with a payload.

    Attributes:
        content_type: what the payload frames are (see ``protocol.content``).
        tensors: the arrays, in the order of their frames, for TENSORS and TREE.
        accept: the content type wanted for the answer.
        timeout: seconds until DeadlineExceeded, waiting and loading included.
        priority: None for the model's.
        lease: run it in the instance that this lease holds.
        keep_alive: seconds the model stays loaded afterwards, if this is the last use; 0 unloads
            it at once; None for as long as the model says.
        stream: have the answer in parts as the model makes them: a Part for each, and then the
            Prediction, without a payload if there was any part. Only for sockets that may read
            several replies to a request, as a REQ socket may not.
    """

    model: str
    content_type: str = "application/json"
    tensors: tuple[TensorSpec, ...] = ()
    accept: str = "application/json"
    timeout: Seconds | None = None
    priority: Priority | None = None
    lease: int | None = None
    keep_alive: KeepAlive = None
    stream: bool = False


class Acquire(Message, frozen=True, tag="acquire"):
    """Lease one instance of a model, for this client only; reply: Leased, when it is idle.

    It is given back by Release, or when the client's process is gone. With ``destroy_after_use``
    it ends then.
    """

    name: str
    timeout: Seconds | None = None
    destroy_after_use: bool = False


class Release(Message, frozen=True, tag="release"):
    """Give a leased instance back; reply: Done."""

    lease: int


class PoolStats(Message, frozen=True, tag="pool"):
    """Ask how many instances a model has and what they do; reply: PoolReport."""

    name: str


class Pin(Message, frozen=True, tag="pin"):
    """Keep a model loaded once it is, or with ``pinned`` false no more; reply: ModelInfo."""

    name: str
    pinned: bool = True


class Shrink(Message, frozen=True, tag="shrink"):
    """End idle instances of a model, or of all; reply: Unloaded, when their memory is free.

    ``keep`` tells how many of each model are to stay; None for the least number of each.
    """

    name: str | None = None
    keep: int | None = None


class Ps(Message, frozen=True, tag="ps"):
    """Ask for every instance; reply: InstanceList."""


class Stats(Message, frozen=True, tag="stats"):
    """Ask what was counted, of one model or of all; reply: StatsReport."""

    name: str | None = None


class History(Message, frozen=True, tag="history"):
    """Ask what models did in the last ``seconds``, in about ``points`` steps; reply: HistoryReport.

    A step is a minute or several. ``name`` is one model's, which may be removed by now.
    """

    seconds: Seconds
    name: str | None = None
    points: int = 300


class Devices(Message, frozen=True, tag="devices"):
    """Ask for every device; reply: DeviceList."""


class Top(Message, frozen=True, tag="top"):
    """Ask for all that the live view shows in one answer; reply: TopReport.

    ``after`` is the number of the last event that is known already.
    """

    after: int = 0


class Metrics(Message, frozen=True, tag="metrics"):
    """Ask for all that is exported to Prometheus; reply: MetricsReport."""


class ShowConfig(Message, frozen=True, tag="config"):
    """Ask for every setting in force and where it came from; reply: ConfigReport."""


class Cancel(Message, frozen=True, tag="cancel"):
    """Withdraw a request sent earlier on this connection; reply: Done."""

    request: str | int


class WhyEnded(Message, frozen=True, tag="why_ended"):
    """Ask why a direct connection ended while an answer was awaited; reply: Done, or the error.

    After ``Done`` the request may be sent here.
    """

    connection: int


class Shutdown(Message, frozen=True, tag="shutdown"):
    """Drain and exit; reply: Done, at once."""


class JobInput(msgspec.Struct, frozen=True):
    """The input of one job to submit.

    Attributes:
        content_type: what its payload frames are; ``tensors`` as for Predict.
        frames: how many of the payload's frames are its.
        source: what to call it to people, such as its file's name.
    """

    content_type: str = "application/json"
    tensors: tuple[TensorSpec, ...] = ()
    frames: int = 1
    source: str = ""


class Submit(Message, frozen=True, tag="submit"):
    """Have a model run on each input, whenever it can be; reply: Submitted, once they are kept.

    The payload holds the frames of all inputs, one input's after another's. All of them are
    accepted, or none.

    Attributes:
        accept: the content type wanted for the answers.
        priority: None for the usual one.
        metadata: whatever the client wants to find with the jobs again.
        timeout: seconds from now until a job that is not finished fails; None for no limit.
    """

    model: str
    inputs: tuple[JobInput, ...] = (JobInput(),)
    accept: str = "application/json"
    priority: Priority | None = None
    metadata: dict[str, str] = {}
    timeout: Seconds | None = None


class ListJobs(Message, frozen=True, tag="list_jobs"):
    """Ask for jobs, the latest first; reply: JobList. ``limit`` says how many at most."""

    state: JobState | None = None
    model: str | None = None
    limit: Count | None = None


class ShowJob(Message, frozen=True, tag="show_job"):
    """Ask for one job; reply: JobReport."""

    job: str


class UnfinishedJobs(Message, frozen=True, tag="unfinished_jobs"):
    """Ask for the ids of all jobs that have not ended; reply: JobIds."""


class WaitJobs(Message, frozen=True, tag="wait_jobs"):
    """Wait until one of these jobs has ended; reply: JobEnds, with those that have.

    It comes after ``patience`` seconds at the latest, and is empty then.
    """

    jobs: tuple[str, ...]
    patience: Seconds = 10.0


class JobResult(Message, frozen=True, tag="job_result"):
    """Ask for a job's answer; reply: Prediction with a payload, or the error it failed with."""

    job: str


class CancelJobs(Message, frozen=True, tag="cancel_jobs"):
    """Cancel these jobs, or all; reply: JobIds, of those that had not ended."""

    jobs: tuple[str, ...] = ()
    all: bool = False


class RemoveJobs(Message, frozen=True, tag="remove_jobs"):
    """Forget jobs and their results; reply: JobIds, of those that are gone.

    Attributes:
        jobs: these, which are cancelled if they have not ended;
        older_than: and all that ended more than so many seconds ago.
    """

    jobs: tuple[str, ...] = ()
    older_than: Seconds | None = None


Request = (
    Health
    | Register
    | Estimate
    | Remove
    | ListModels
    | Show
    | Load
    | Unload
    | Move
    | Reload
    | Predict
    | Acquire
    | Release
    | PoolStats
    | Pin
    | Shrink
    | Ps
    | Stats
    | History
    | Devices
    | Top
    | Metrics
    | ShowConfig
    | Cancel
    | WhyEnded
    | Shutdown
    | Submit
    | ListJobs
    | ShowJob
    | UnfinishedJobs
    | WaitJobs
    | JobResult
    | CancelJobs
    | RemoveJobs
)
