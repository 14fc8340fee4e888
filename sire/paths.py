"""The files and directories of a daemon, by the XDG base directory specification.

``SIRE_HOME`` moves all of them below one directory, for a private daemon with its own registry.
"""

import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sire.errors import DaemonUnavailable

# sun_path holds 108 bytes, the last of which is the terminating NUL (unix(7)).
LONGEST_SOCKET_PATH = 107


def file_stem(model: str) -> str:
    """The name of a model as part of a file name: ``org/model`` becomes ``org%2Fmodel``."""
    return model.replace("/", "%2F")


def model_of_stem(stem: str) -> str:
    """The name of the model that a file name was made from by ``file_stem``."""
    return stem.replace("%2F", "/")


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one daemon and the files in them."""

    runtime: Path
    config: Path
    data: Path
    state: Path

    @property
    def socket(self) -> Path:
        """The Unix socket that clients connect to."""
        return self.runtime / "sired.sock"

    @property
    def direct_socket(self) -> Path:
        """The Unix socket on which clients request a direct connection to a worker."""
        return self.runtime / "data.sock"

    @property
    def lock(self) -> Path:
        """The file whose lock decides which process is the daemon; it contains its pid."""
        return self.runtime / "sired.lock"

    def load_lock(self, gpu: str) -> Path:
        """The file that a worker locks while it loads onto a GPU, to measure loads apart."""
        return self.runtime / f"{gpu}.load"

    @property
    def config_file(self) -> Path:
        """The settings file."""
        return self.config / "config.toml"

    @property
    def keys(self) -> Path:
        """The API keys of ``sire serve``."""
        return self.config / "keys.json"

    @property
    def models(self) -> Path:
        """The registry: one TOML file per model."""
        return self.data / "models"

    @property
    def aliases(self) -> Path:
        """Other names for models."""
        return self.data / "aliases.json"

    @property
    def classes(self) -> Path:
        """Model classes that Python clients sent as pickles."""
        return self.data / "classes"

    @property
    def logs(self) -> Path:
        """The daemon's log, and one log per model in ``logs/models``."""
        return self.state / "logs"

    @property
    def daemon_log(self) -> Path:
        """The daemon's log, as JSON lines; older lines are in ``.1`` to ``.3``."""
        return self.logs / "sired.log"

    @property
    def daemon_output(self) -> Path:
        """The output of a background daemon: why it did not start, or crashed."""
        return self.logs / "sired.err"

    @property
    def standby_log(self) -> Path:
        """The output of standby workers without a model."""
        return self.logs / "standby.log"

    @property
    def footprints(self) -> Path:
        """Measured memory footprints of models that were loaded before."""
        return self.state / "footprints.json"

    @property
    def snapshots(self) -> Path:
        """The states of models' files when they were registered, one file per model."""
        return self.state / "snapshots"

    @property
    def loaded(self) -> Path:
        """The models that the next daemon loads."""
        return self.state / "loaded.json"

    @property
    def services(self) -> Path:
        """The gateways that the next daemon starts."""
        return self.state / "services.json"

    @property
    def jobs(self) -> Path:
        """The database of jobs and, in ``spool``, their large inputs and results."""
        return self.state / "jobs"

    @property
    def batches(self) -> Path:
        """The batches of ``sire serve``, and in ``files`` their inputs and answers."""
        return self.state / "batches"

    @property
    def history(self) -> Path:
        """The database of each model's activity, minute by minute."""
        return self.state / "history.db"

    @property
    def caches(self) -> Path:
        """Caches of artifacts that are expensive to build, one directory per model."""
        return self.state / "cache"

    def model_cache(self, name: str) -> Path:
        """The cache of one model: optimized graphs, compiled code."""
        return self.caches / file_stem(name)

    def model_log(self, name: str) -> Path:
        """The output of the workers of one model."""
        return self.logs / "models" / f"{file_stem(name)}.log"

    def service_log(self, name: str) -> Path:
        """The output of the gateway of one service."""
        return self.logs / "services" / f"{file_stem(name)}.log"

    def checked_socket(self) -> Path:
        """The socket's path, if the kernel accepts its length.

        Raises:
            DaemonUnavailable: it exceeds the limit of a Unix socket path.
        """
        length = len(os.fsencode(self.socket))
        if length > LONGEST_SOCKET_PATH:
            raise DaemonUnavailable(
                f"The socket path {self.socket} has {length} bytes; "
                f"the limit of a Unix socket is {LONGEST_SOCKET_PATH}.",
                hint="Set XDG_RUNTIME_DIR or SIRE_HOME to a shorter directory.",
            )
        return self.socket


def find_paths(environment: Mapping[str, str] | None = None) -> Paths:
    """Derive the directories from the environment; nothing is created."""
    environment = os.environ if environment is None else environment
    if home := environment.get("SIRE_HOME"):
        root = Path(home).absolute()
        return Paths(root / "run", root / "config", root / "data", root / "state")

    def base(variable: str, default: str) -> Path:
        # The specification requires relative values to be ignored.
        value = environment.get(variable, "")
        return Path(value) if value.startswith("/") else Path.home() / default

    return Paths(
        runtime=_runtime_base(environment) / "sire",
        config=base("XDG_CONFIG_HOME", ".config") / "sire",
        data=base("XDG_DATA_HOME", ".local/share") / "sire",
        state=base("XDG_STATE_HOME", ".local/state") / "sire",
    )


def _runtime_base(environment: Mapping[str, str]) -> Path:
    """XDG_RUNTIME_DIR, or its substitute where no login session sets it (cron)."""
    if (given := environment.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return Path(given)
    by_login = Path(f"/run/user/{os.getuid()}")
    if by_login.is_dir():
        return by_login
    return Path(tempfile.gettempdir()) / f"runtime-{os.getuid()}"


def private_directory(path: Path) -> Path:
    """Create a directory that only its owner can enter, or check an existing one.

    Missing parents are created with the same mode, whatever the umask.

    Raises:
        DaemonUnavailable: other users can replace it, or it cannot be created.
    """
    try:
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        check_owner(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as problem:
        raise DaemonUnavailable(f"Cannot use the directory {path}: {problem.strerror}.") from None
    return path


def remove_stale_socket(path: Path) -> None:
    """Remove the socket that a killed daemon left behind.

    Raises:
        DaemonUnavailable: the path is a directory, or cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        kind = "is a directory" if path.is_dir() else f"cannot be removed: {problem.strerror}"
        raise DaemonUnavailable(
            f"{path} {kind}, and the daemon needs it for its socket.",
            hint=f"Move it away: mv {path} {path}.old",
        ) from None


def check_owner(path: Path) -> None:
    """Check that no other user can replace this directory.

    Raises:
        DaemonUnavailable: it or its parent belongs to another user, or its parent is writable for
            all.
        FileNotFoundError: the directory does not exist.
    """
    hint = "Set XDG_RUNTIME_DIR or SIRE_HOME to a directory that you own."
    for directory, owners in ((path, {os.getuid()}), (path.parent, {os.getuid(), 0})):
        if (owner := directory.stat().st_uid) not in owners:
            raise DaemonUnavailable(f"{directory} belongs to uid {owner}, not to you.", hint=hint)
    mode = path.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise DaemonUnavailable(
            f"All users can write to {path.parent}, and so replace {path.name} in it.",
            hint=f"Restrict it: chmod o-w {path.parent}",
        )


def nearest_file_hint(path: Path) -> str:
    """A hint that names the file nearest to a missing one; "" if none is similar."""
    from sire.nearest import nearest  # noqa: PLC0415 (rarely needed, and slow to import)

    try:
        near = nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""
    return f"Did you mean {path.with_name(near)}?" if near else ""
