"""The requests of clients."""

from sire.protocol.aliases import ListAliases, RemoveAlias, Resolve, SetAlias
from sire.protocol.jobs import (
    CancelJobs,
    CountJobs,
    JobResult,
    ListJobs,
    RemoveJobs,
    ShowJob,
    Submit,
    UnfinishedJobs,
    WaitJobs,
)
from sire.protocol.message import Message, PayloadReference
from sire.protocol.services import ListServices, ShowService, StartService, StopService
from sire.spec import KeepAlive, ModelSpec, Priority, Seconds, TensorSpec


class Health(Message, frozen=True, tag="health"):
    """Get the health of the daemon; reply: HealthReport.

    With ``deep`` each part that a prediction needs is tested, with ``model`` that model as well;
    the reply is an error if a test fails or takes more than ``timeout`` seconds.
    """

    deep: bool = False
    model: str | None = None
    timeout: Seconds | None = None


class Register(Message, frozen=True, tag="register"):
    """Register a model; reply: ModelInfo.

    The daemon fills in ``model.runtime``, ``format``, ``fingerprint`` and the like.
    When ``model.model_class`` is "pickle:", the one payload frame is a cloudpickle of the class
    made by Python ``python_version``. ``explicit`` names options given with their built-in default,
    which ``[defaults]`` does not replace.
    """

    model: ModelSpec
    replace: bool = False
    python_version: str = ""
    explicit: tuple[str, ...] = ()


class Estimate(Message, frozen=True, tag="estimate"):
    """Estimate the memory of a model, registered or not; reply: EstimateReport.

    ``model`` is filled in as for Register, but needs neither a class nor trust: headers are read,
    and no code in its files is run, not even that of a .py file. A class that is named is asked
    for an estimate.
    """

    model: ModelSpec
    explicit: tuple[str, ...] = ()


class Remove(Message, frozen=True, tag="remove"):
    """Unload a model and remove it from the registry; reply: Done."""

    name: str


class ListModels(Message, frozen=True, tag="list"):
    """List all registered models; reply: ModelList."""


class Show(Message, frozen=True, tag="show"):
    """Get one model; reply: ModelInfo."""

    name: str


class Verify(Message, frozen=True, tag="verify"):
    """Hash the files of a model in full and compare them; reply: VerifyReport.

    With ``trust`` the files are trusted and registered as they are now. If the registration names
    code and was not made on this machine, it is the registration that is trusted.
    """

    name: str
    trust: bool = False


class Load(Message, frozen=True, tag="load"):
    """Load a model now, on ``device`` if it is given; reply: InstanceInfo."""

    name: str
    device: str | None = None
    timeout: Seconds | None = None


class Unload(Message, frozen=True, tag="unload"):
    """Unload every instance of a model; reply: Unloaded, when its memory is free."""

    name: str


class Move(Message, frozen=True, tag="move"):
    """Move a model to another tier.

    ``to`` is a device, on which it is loaded or wakes; ``dram``, where it sleeps; or ``disk``.
    Reply: InstanceInfo when it has moved; for ``disk`` Unloaded when its memory is free.
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
        content_type: type of the payload frames (see ``protocol.content``).
        tensors: the arrays, in the order of their frames, for TENSORS and TREE.
        accept: content type of the answer.
        timeout: seconds until DeadlineExceeded, including waiting and loading; None for the
            daemon's default.
        priority: None for the model's.
        lease: run it in the instance that this lease holds.
        keep_alive: seconds the model stays loaded afterwards, if this is the last use; 0 unloads
            it at once; None for the model's.
        stream: send the answer in parts as the model produces them: a Part for each, and then the
            Prediction, without a payload if there was any part. Not for REQ sockets, which read
            one reply to a request.
        payload: where the payload is, if it does not follow.
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
    payload: PayloadReference | None = None


class Acquire(Message, frozen=True, tag="acquire"):
    """Lease one instance of a model for this client; reply: Leased, when it is idle.

    The lease ends with Release, or when the client disconnects. With ``destroy_after_use`` the
    instance ends with it.
    """

    name: str
    timeout: Seconds | None = None
    destroy_after_use: bool = False


class Release(Message, frozen=True, tag="release"):
    """Release a leased instance; reply: Done."""

    lease: int


class TakeSlot(Message, frozen=True, tag="take_slot"):
    """Take one of the places of a program that serves a model; reply: SlotTaken, when one is free.

    The client then sends requests to the program itself. The slot counts as one request in progress
    until FreeSlot, or until the client disconnects or cancels it.

    Attributes:
        timeout: seconds until DeadlineExceeded, including waiting and loading, for the slot to be
            taken; None for the daemon's default. A slot that is taken has no time limit.
        priority: None for the model's.
        keep_alive: as for Predict.
    """

    model: str
    timeout: Seconds | None = None
    priority: Priority | None = None
    keep_alive: KeepAlive = None


class FreeSlot(Message, frozen=True, tag="free_slot"):
    """Give back a slot of this connection; reply: Done.

    Attributes:
        bytes_in: sent to the program, and ``bytes_out`` received from it.
        error: what went wrong, for statistics; "" for nothing.
    """

    slot: int
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""


class PoolStats(Message, frozen=True, tag="pool"):
    """Get the number and use of a model's instances; reply: PoolReport."""

    name: str


class Pin(Message, frozen=True, tag="pin"):
    """Pin a model, so that it stays loaded, or unpin it; reply: ModelInfo."""

    name: str
    pinned: bool = True


class Keep(Message, frozen=True, tag="keep"):
    """Keep models from expiring for as long as this connection lasts; reply: Done.

    They may be evicted, and are not loaded by this. A later one of the same connection replaces it.
    """

    models: tuple[str, ...]


class Shrink(Message, frozen=True, tag="shrink"):
    """End idle instances of a model, or of all; reply: Unloaded, when their memory is free.

    ``keep`` is the number of instances of each model that stay; None for its minimum.
    """

    name: str | None = None
    keep: int | None = None


class Ps(Message, frozen=True, tag="ps"):
    """List all instances; reply: InstanceList."""


class Stats(Message, frozen=True, tag="stats"):
    """Get statistics of one model or of all; reply: StatsReport."""

    name: str | None = None


class History(Message, frozen=True, tag="history"):
    """Get the activity of the last ``seconds`` in about ``points`` steps; reply: HistoryReport.

    A step is one or more minutes. ``name`` selects a model, which may have been removed.
    """

    seconds: Seconds
    name: str | None = None
    points: int = 300


class Devices(Message, frozen=True, tag="devices"):
    """List all devices; reply: DeviceList."""


class Top(Message, frozen=True, tag="top"):
    """Get everything that the live view shows; reply: TopReport.

    ``after`` is the number of the last event that the client has.
    """

    after: int = 0


class Metrics(Message, frozen=True, tag="metrics"):
    """Get everything that is exported to Prometheus; reply: MetricsReport."""


class ShowConfig(Message, frozen=True, tag="config"):
    """Get all settings in force and their sources; reply: ConfigReport."""


class Cancel(Message, frozen=True, tag="cancel"):
    """Cancel a request sent earlier on this connection; reply: Done."""

    request: str | int


class WhyEnded(Message, frozen=True, tag="why_ended"):
    """Get the reason why a direct connection ended without an answer; reply: Done, or the error.

    After ``Done`` the request may be sent to the daemon.
    """

    connection: int


class Shutdown(Message, frozen=True, tag="shutdown"):
    """Drain and exit; reply: Done, at once."""


Request = (
    Health
    | Register
    | Estimate
    | Remove
    | ListModels
    | Show
    | Verify
    | Load
    | Unload
    | Move
    | Reload
    | Predict
    | Acquire
    | Release
    | TakeSlot
    | FreeSlot
    | PoolStats
    | Pin
    | Keep
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
    | StartService
    | ListServices
    | ShowService
    | StopService
    | Submit
    | ListJobs
    | ShowJob
    | UnfinishedJobs
    | CountJobs
    | WaitJobs
    | JobResult
    | CancelJobs
    | RemoveJobs
    | SetAlias
    | RemoveAlias
    | ListAliases
    | Resolve
)

# Requests that change nothing: a restarted daemon may be asked again when the first one died.
READING = (
    Health,
    Estimate,
    ListModels,
    Show,
    PoolStats,
    Ps,
    Stats,
    History,
    Devices,
    Top,
    Metrics,
    ShowConfig,
    ListServices,
    ShowService,
    ListJobs,
    ShowJob,
    UnfinishedJobs,
    CountJobs,
    WaitJobs,
    JobResult,
    WhyEnded,
    ListAliases,
    Resolve,
)
