"""The settings of sire.toml(5): names and defaults from the code, descriptions from this file."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import FieldInfo, fields

from man.roff import bold, heading, item, text
from sire.options.table import WITH_DEFAULTS
from sire.values import Kind
from sired.config import DeviceSettings, GroupSettings, Settings
from sired.scheduler.policies import eviction, placement, routing

SECTIONS = {
    "daemon": "The daemon itself.",
    "placement": "On which device a model is loaded, which models are evicted for it, how many "
    "instances it has, and which of them serves a request.",
    "limits": "Limits of all models together; `sire devices` shows what bounds each device.",
    "memory": "Memory kept free, and memory charged for a model that has not been measured.",
    "tiers": "Where models are kept when they leave their device.",
    "defaults": "Values of options that a model, or a request, does not specify. Except for "
    "`keep_alive` and `timeout`, a change takes effect at the daemon's next start. A batch size "
    "or concurrency applies to the models that accept one.",
    "queue": "How many requests may wait, and the order in which they are served.",
    "cache": "Answers kept in memory for models registered with `--cache`; the least recently used "
    "are dropped first.",
    "jobs": "Jobs, and how long finished jobs are kept; the oldest are removed first.",
    "history": "The per-minute history that `sire stats --since` shows.",
    "http": "The gateway that starts with the daemon, as the service http. See sire serve.",
    "metrics": "Where Prometheus can fetch the metrics that `sire metrics` prints.",
    "workers": "What the processes of models can access. A change takes effect at the daemon's "
    "next start.",
    "devices.NAME": "A physical device (cpu, cuda:0, cuda:1, ...) with a limit of its own, or a "
    "part of one under another name. A device that is split into parts is no longer available "
    "under its own name.",
    "groups.NAME": "A group of models that share a limit on memory. A model belongs to it if it is "
    "registered with `--group NAME`; `sire devices` shows what each group holds.",
}
NAMED = {"devices": DeviceSettings, "groups": GroupSettings}
KEYS = {
    **{f"defaults.{option.name}": option.help for option in WITH_DEFAULTS},
    "daemon.grace": "How long a daemon that is stopped waits for running requests.",
    "daemon.log_level": "One of debug, info, warning and error.",
    "daemon.max_message": "Largest request that is accepted.",
    "daemon.max_decoded": "Most memory that an input may take once decoded; a small image or "
    "archive can declare any size. Applies to models loaded after a change.",
    "daemon.hung_after": "How long a request may occupy its worker after its deadline or its "
    "cancellation before the worker is killed.",
    "daemon.load_timeout": "How long a load may make no progress before its process is killed. A "
    "large file on a slow disk may take longer in total, because reading counts as progress.",
    "daemon.retry_after": "How long a model that failed to load is not retried; requests for it "
    "fail at once with the reason. The time doubles with each further failure. It also applies to "
    "a model whose process ended three times without an answer; requests for such a model wait. "
    "`sire load` retries at once, and `sire show` shows the state.",
    "daemon.retry_most": "Longest time for which a model is not retried.",
    "daemon.preload": "Models to load when the daemon starts, in this order, such as "
    '["a", "b"]. A model that does not fit beside those before it is skipped, and `sire health` '
    "reports it. Preloaded models can be evicted; pin those that must stay.",
    "daemon.restore": "Whether a starting daemon loads the models that were loaded when the last "
    "one ended: pinned models first, then the most recently used. A model during whose load the "
    "daemon ended twice is skipped until it is loaded with `sire load`.",
    "placement.strategy": f"One of {', '.join(placement.BUILT_IN)}, or one that another package "
    "provides.",
    "placement.eviction": f"Which idle models are evicted when memory is short: one of "
    f"{', '.join(eviction.BUILT_IN)}, or one that another package provides. lru evicts the least "
    "recently used; cost evicts models that load fast for their size and are not expected to be "
    "used soon.",
    "placement.routing": f"One of {', '.join(routing.BUILT_IN)}, or one that another package "
    "provides.",
    "placement.most_instances": "Most instances of a model registered with --instances auto.",
    "placement.shrink_after": "How long an instance beyond a model's minimum may be idle.",
    "limits.max_models": "Most models loaded at the same time, however much memory is free; 0 for "
    "no limit.",
    "limits.max_memory_percent": "Share of each device's memory that models may use, in percent. A "
    "change takes effect at the daemon's next start.",
    "memory.reserve_cpu": "Main memory left to the system.",
    "memory.reserve_gpu": "Memory of each GPU left to other programs.",
    "memory.cuda_context": "Charged for a process on a GPU, in addition to its weights.",
    "memory.cpu_process": "Charged for a process on the CPU, in addition to its weights.",
    "memory.file_factor": "Expected memory of a model, as a multiple of its weights.",
    "tiers.dram": "Main memory for models that are asleep; 0 for none. A model that is evicted, or "
    "idle for its keep-alive, is put to sleep there if it supports this and fits; the least "
    "recently used are unloaded to make room. Otherwise the model is unloaded. The next request "
    "wakes it, which is much faster than loading. Models that run on the CPU have this much less "
    "memory. A change takes effect at the daemon's next start.",
    "defaults.keep_alive": "How long a model stays loaded after its last use; with forever, until "
    "its memory is needed.",
    "defaults.timeout": "How long a request may take, including waiting and loading.",
    "queue.per_model": "Most requests that may wait for one model.",
    "queue.total": "Most requests that may wait in total.",
    "queue.memory": "Bytes that inputs above 64 KiB of unanswered requests may take in all.",
    "queue.ageing": "How long a request waits until its priority is raised by one class, from low "
    "to normal to high; this bounds the wait of low ones under any load.",
    "queue.patience": "How long a busy model keeps its device while another model waits for it; at "
    "least as long as its load took. Multiplied by the model's weight.",
    "queue.turn_requests": "Most requests it serves during this time. Multiplied by the model's "
    "weight.",
    "cache.memory": "Most memory for cached answers of all models together; 0 disables the cache.",
    "jobs.timeout": "How long a job may run.",
    "jobs.keep_for": "How long a finished job and its result are kept.",
    "jobs.keep_count": "Number of finished jobs to keep.",
    "jobs.keep_bytes": "Most disk space for the results of finished jobs.",
    "history.keep_for": "How long the history is kept; 0 disables it. At most 500,000 entries of "
    "all models together are kept; the oldest are removed first.",
    "http.listen": "Address to serve HTTP on, such as 127.0.0.1:8470; none by default.",
    "http.grpc": "Address for gRPC; none by default.",
    "http.keys": "File of the API keys that are demanded, as sire serve --keys.",
    "http.tls_cert": "Certificate chain, to serve HTTPS.",
    "http.tls_key": "Key of the certificate.",
    "http.loading_wait": "How long a request waits while its model is loaded.",
    "http.cors": "Origins of sites whose web pages may use the models.",
    "metrics.port": "Port for http://HOST:PORT/metrics; 0 disables it.",
    "metrics.host": "Address to listen on. Any program that can connect can read names and counts.",
    "workers.environment": "Variables that models get from the environment in which the daemon was "
    'started, such as ["NAME", "PREFIX_*"], in addition to those for paths and locale (PATH, HOME, '
    "LANG, TMPDIR, ...) and for Python, CUDA and the frameworks (PYTHON*, LD_*, CUDA_*, OMP_*, "
    "TORCH*, HF_*, ...). Variables named like a secret (HF_TOKEN, ..._KEY) are passed only if they "
    "are listed here.",
    "workers.limits": "Whether models' processes are limited: no core files, 4096 open files (65536"
    " if they raise their limit), first to be killed when the machine runs out of memory and, on a "
    "CPU, no more memory than is charged to them or was free on their device when they started.",
    "workers.no_new_privileges": "Whether to prevent models' processes from gaining privileges, as "
    "sudo and rootless podman do.",
    "workers.control_groups": "Whether each process on a CPU and the processes it starts are "
    "limited by a control group (version 2) of their own. The daemon must be alone in a control "
    "group that is delegated to it, as in the unit that `sire daemon install` writes, which "
    "enables this.",
    "devices.NAME.kind": "One of cpu and cuda; optional if the name starts with it.",
    "devices.NAME.index": "Number of the GPU in PCI bus order.",
    "devices.NAME.memory": "Most memory that models may use there; required for a part.",
    "devices.NAME.cores": "CPU cores that its workers run on, such as [0, 1]; all if omitted.",
    "devices.NAME.enabled": "Whether models are loaded there.",
    "devices.NAME.standby": "Number of workers kept ready there without a model, on a GPU with a "
    "CUDA context, so that loads are faster. The memory of each (`memory.cuda_context`, on a CPU "
    "`memory.cpu_process`) is reserved and not part of the capacity.",
    "groups.NAME.memory": "Most memory that the models of the group may hold, on all devices "
    "together. A model that needs more waits until others of its group have given way. Weights "
    "that sleep in main memory do not count.",
}


def settings_sections() -> str:
    """The description of every section and its keys.

    Raises:
        KeyError: a setting is not described here, or a description has no setting.
    """
    found = dict(_settings())
    if found.keys() != KEYS.keys():
        raise KeyError(*sorted(found.keys() ^ KEYS.keys()))
    return "".join(
        heading(f"[{section}]")
        + f"{text(description)}\n"
        + "".join(_key(key, field) for key, field in found.items() if _section(key) == section)
        for section, description in SECTIONS.items()
    )


def _settings() -> Iterator[tuple[str, FieldInfo]]:
    for section in fields(Settings):
        named = section.name in NAMED
        struct: type[msgspec.Struct] = NAMED[section.name] if named else section.type
        prefix = f"{section.name}.NAME" if named else section.name
        yield from ((f"{prefix}.{field.encode_name}", field) for field in fields(struct))


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def _key(key: str, field: FieldInfo) -> str:
    kind: Kind = field.type.__metadata__[0]
    facts = [kind.name]
    if field.default not in (msgspec.NODEFAULT, None, (), ""):
        facts.append(f"default {kind.write(field.default)}")
    noted = ", ".join(filter(None, facts))
    return item(bold(key.rpartition(".")[2]) + (f" ({text(noted)})" if noted else ""), KEYS[key])
