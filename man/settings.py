"""The settings of sire.toml(5): names and defaults from the program, words from here."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import FieldInfo, fields

from man.roff import bold, heading, item, text
from sire.options.table import WITH_DEFAULTS
from sire.values import Kind
from sired.config import DeviceSettings, Settings
from sired.scheduler.policies import eviction, placement, routing

SECTIONS = {
    "daemon": "The daemon itself.",
    "placement": "Which device a model goes to, and which models end for it; how many instances "
    "there are, and which of them a request goes to.",
    "limits": "What all models together may take; `sire devices` says what bounds a device.",
    "memory": "What is kept free, and what is charged to a model that has never been measured.",
    "tiers": "Where models are kept that give way to others.",
    "defaults": "Values of options that a model, or a request, does not specify. Except for "
    "`keep_alive` and `timeout`, a change takes effect from the daemon's next start. A batch size "
    "or concurrency applies to the models that accept one.",
    "queue": "How many requests may wait, and in what order they are served.",
    "cache": "Answers kept in memory for models that were registered with `--cache`; those unused "
    "for longest go first.",
    "jobs": "Jobs, and how long those that are finished are kept: the oldest go first.",
    "history": "What `sire stats --since` tells: what each model did, minute by minute.",
    "metrics": "Where Prometheus may fetch what `sire metrics` prints.",
    "workers": "What the processes of models may see and do. A change holds from the daemon's next "
    "start.",
    "devices.NAME": "A physical device (cpu, cuda:0, cuda:1, ...) with a limit of its own, or a "
    "part of one under another name. A device split into parts of other names is itself no "
    "longer offered.",
}
KEYS = {
    **{f"defaults.{option.name}": option.help for option in WITH_DEFAULTS},
    "daemon.grace": "How long a daemon that is told to stop waits for running requests.",
    "daemon.log_level": "One of debug, info, warning and error.",
    "daemon.max_message": "The largest request that is taken.",
    "daemon.max_decoded": "What an input may take in memory once it is decoded: a small picture or "
    "archive can claim to hold any amount. It counts for models that are loaded from then on.",
    "daemon.hung_after": "How long a running request may hold its worker beyond its deadline, "
    "or its cancelling, before the worker is killed.",
    "daemon.load_timeout": "How long a load may make no progress before its process is ended. A "
    "large file on a slow disk may take longer in all: what is read of it is progress.",
    "daemon.retry_after": "How long a model is left alone that could not be loaded: whoever asks "
    "for it meanwhile is told why at once. Twice as long each time it fails again. The same holds "
    "for one whose process ended by itself three times without an answer; requests for it wait. "
    "`sire load` tries at once, and `sire show` tells.",
    "daemon.retry_most": "How long a model is left alone at most.",
    "daemon.preload": 'Models to load when the daemon starts, in this order, as ["a", "b"]. One '
    "that does not fit beside those before it is left out, and `sire health` says so. They are "
    "unloaded like any other: pin what is to stay.",
    "daemon.restore": "Whether a daemon that starts loads what was loaded when the last one ended, "
    "however it did: the pinned first, then what was used most recently. A model during whose load "
    "the daemon ended twice is left out until it has been loaded by hand.",
    "placement.strategy": f"One of {', '.join(placement.BUILT_IN)}, or one that another package "
    "brings.",
    "placement.eviction": f"Which idle models end when memory is short: one of "
    f"{', '.join(eviction.BUILT_IN)}, or one that another package brings. lru ends what was used "
    "longest ago; cost what loads fast for its size and is not expected to be used soon.",
    "placement.routing": f"One of {', '.join(routing.BUILT_IN)}, or one that another package "
    "brings.",
    "placement.most_instances": "How many instances a model registered with --instances auto has "
    "at most.",
    "placement.shrink_after": "How long an instance beyond the least number of its model may idle.",
    "limits.max_models": "How many models are loaded at once at most, however much memory there "
    "is; 0 for as many as fit.",
    "limits.max_memory_percent": "How much of each device's memory models may take, in percent of "
    "all that it has. A change holds from the daemon's next start.",
    "memory.reserve_cpu": "Main memory that is left to the system.",
    "memory.reserve_gpu": "Memory that is left to others on each GPU.",
    "memory.cuda_context": "Charged for a process on a GPU, beside its weights.",
    "memory.cpu_process": "Charged for a process on the CPU, beside its weights.",
    "memory.file_factor": "Memory a model is expected to take, as a multiple of its weights.",
    "tiers.dram": "Main memory set aside for models that sleep; 0 for none. A model that is to "
    "give way to another, or has idled for its keep-alive, goes to sleep there if it can and fits; "
    "those that were used longest ago are unloaded for it, else it is unloaded itself. It wakes "
    "when it is asked for, much faster than it loads. The CPU has so much less for models that run "
    "on it. A change holds from the daemon's next start.",
    "defaults.keep_alive": "How long a model stays loaded after its last use; forever keeps it "
    "until its memory is needed.",
    "defaults.timeout": "How long a request may take, waiting and loading included.",
    "queue.per_model": "Requests that may wait for one model.",
    "queue.total": "Requests that may wait in all.",
    "queue.ageing": "How long a request waits until it climbs one class of priority, from low to "
    "normal to high; so low ones are served in bounded time under any load of high ones.",
    "queue.patience": "How long a busy model keeps its place on a device while another model waits "
    "for it; at least as long as its load took. Multiplied by the model's weight.",
    "queue.turn_requests": "How many requests it serves meanwhile at most. Multiplied by the "
    "model's weight.",
    "cache.memory": "How much they may take, of all models together; 0 keeps none.",
    "jobs.timeout": "How long one job may take once its turn has come.",
    "jobs.keep_for": "How long after its end a job and its result are kept.",
    "jobs.keep_count": "How many finished jobs are kept.",
    "jobs.keep_bytes": "How much the results of finished jobs may take together.",
    "history.keep_for": "How long it is kept; 0 keeps none. There are 500,000 minutes at most, of "
    "all models together: the oldest go first.",
    "metrics.port": "The port that they are at, as http://HOST:PORT/metrics; 0 for none.",
    "metrics.host": "The address to listen on. Whoever reaches it may read names and counts.",
    "workers.environment": "Variables that models see of the environment in which the daemon was "
    'started, as ["NAME", "PREFIX_*"], beside those that say where things are (PATH, HOME, LANG, '
    "TMPDIR, ...) and those that Python, CUDA and the frameworks are told by (PYTHON*, LD_*, "
    "CUDA_*, OMP_*, TORCH*, HF_*, ...). No others reach them, and none that is called like a "
    "secret (HF_TOKEN, ..._KEY) unless it is named here.",
    "workers.limits": "Whether models' processes write no core files, have 4096 files open at most "
    "(65536 if they ask for more), are the first to be ended when the machine has no memory left "
    "and, on a CPU, may take no more memory than is charged to them or was free on their device "
    "when they were started.",
    "workers.no_new_privileges": "Whether nothing that models start can gain rights, as sudo and "
    "rootless podman do.",
    "workers.control_groups": "Whether each process on a CPU is bounded together with what it "
    "starts, by a control group (version 2) of its own. The daemon has to be alone in a group that "
    "was delegated to it, as it is in the unit that `sire daemon install` writes, which sets this.",
    "devices.NAME.kind": "One of cpu and cuda; not needed where the name begins so.",
    "devices.NAME.index": "The number of the GPU in PCI bus order.",
    "devices.NAME.memory": "The most memory that models may take there; a part needs it.",
    "devices.NAME.cores": "The CPU cores its workers run on, as [0, 1]; all where none are given.",
    "devices.NAME.enabled": "Whether models are placed there at all.",
    "devices.NAME.standby": "How many workers are kept ready there without a model, on a GPU with "
    "a CUDA context, so that a load need not wait for that. What each takes "
    "(`memory.cuda_context`, on a CPU `memory.cpu_process`) is kept for it and no part of the "
    "capacity.",
}


def settings_sections() -> str:
    """Every section and every key in it.

    Raises:
        KeyError: a setting is not described here, or one is that there is not.
    """
    found = dict(_settings())
    if found.keys() != KEYS.keys():
        raise KeyError(*sorted(found.keys() ^ KEYS.keys()))
    return "".join(
        heading(f"[{section}]")
        + f"{text(words)}\n"
        + "".join(_key(key, field) for key, field in found.items() if _section(key) == section)
        for section, words in SECTIONS.items()
    )


def _settings() -> Iterator[tuple[str, FieldInfo]]:
    for section in fields(Settings):
        devices = section.name == "devices"
        struct: type[msgspec.Struct] = DeviceSettings if devices else section.type
        prefix = "devices.NAME" if devices else section.name
        yield from ((f"{prefix}.{field.encode_name}", field) for field in fields(struct))


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def _key(key: str, field: FieldInfo) -> str:
    kind: Kind = field.type.__metadata__[0]
    facts = [kind.name]
    if field.default not in (msgspec.NODEFAULT, None, ()):
        facts.append(f"default {kind.write(field.default)}")
    noted = ", ".join(filter(None, facts))
    return item(bold(key.rpartition(".")[2]) + (f" ({text(noted)})" if noted else ""), KEYS[key])
