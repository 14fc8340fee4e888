"""Where everything lies on disk, by the XDG base directory rules.

``SIRE_HOME`` puts all of it below one directory instead, which gives a private daemon with a
registry of its own.
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


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one daemon and the files in them."""

    runtime: Path
    config: Path
    data: Path
    state: Path

    @property
    def socket(self) -> Path:
        """The Unix socket clients talk to."""
        return self.runtime / "sired.sock"

    @property
    def direct_socket(self) -> Path:
        """The Unix socket at which clients ask for a connection to a worker."""
        return self.runtime / "data.sock"

    @property
    def lock(self) -> Path:
        """The file whose lock decides who is the daemon; it holds that daemon's pid."""
        return self.runtime / "sired.lock"

    def load_lock(self, gpu: str) -> Path:
        """What is locked by who loads onto a GPU, where loads have to be told apart."""
        return self.runtime / f"{gpu}.load"

    @property
    def config_file(self) -> Path:
        """The settings."""
        return self.config / "config.toml"

    @property
    def models(self) -> Path:
        """The registry: one TOML file per model."""
        return self.data / "models"

    @property
    def classes(self) -> Path:
        """Model classes that came as pickles from Python callers."""
        return self.data / "classes"

    @property
    def logs(self) -> Path:
        """The daemon's log, and one log per model in ``logs/models``."""
        return self.state / "logs"

    @property
    def daemon_log(self) -> Path:
        """What the daemon logs, as JSON lines; ``.1`` to ``.3`` behind it hold what was before."""
        return self.logs / "sired.log"

    @property
    def daemon_output(self) -> Path:
        """What a daemon in the background prints besides: why it did not start, or crashed."""
        return self.logs / "sired.err"

    @property
    def standby_log(self) -> Path:
        """What workers print that stand by without a model."""
        return self.logs / "standby.log"

    @property
    def footprints(self) -> Path:
        """Measured memory needs of models loaded before."""
        return self.state / "footprints.json"

    @property
    def loaded(self) -> Path:
        """Which models the next daemon is to load."""
        return self.state / "loaded.json"

    @property
    def jobs(self) -> Path:
        """The database of jobs and, in ``spool``, their big inputs and results."""
        return self.state / "jobs"

    @property
    def history(self) -> Path:
        """What models did in each minute of the last days."""
        return self.state / "history.db"

    @property
    def caches(self) -> Path:
        """What is kept of models because it takes long to make, one directory for each."""
        return self.state / "cache"

    def model_cache(self, name: str) -> Path:
        """What runtimes keep of one model: optimised graphs, compiled code."""
        return self.caches / name

    def model_log(self, name: str) -> Path:
        """Everything the workers of one model print."""
        return self.logs / "models" / f"{name}.log"

    def checked_socket(self) -> Path:
        """The socket's path, if the kernel can take one so long.

        Raises:
            DaemonUnavailable: it is longer than a Unix socket path may be.
        """
        length = len(os.fsencode(self.socket))
        if length > LONGEST_SOCKET_PATH:
            raise DaemonUnavailable(
                f"The socket path {self.socket} has {length} bytes; "
                f"a Unix socket takes {LONGEST_SOCKET_PATH} at most.",
                hint="Set XDG_RUNTIME_DIR or SIRE_HOME to a shorter directory.",
            )
        return self.socket


def find_paths(environment: Mapping[str, str] | None = None) -> Paths:
    """Work out the directories from the environment; nothing is created."""
    environment = os.environ if environment is None else environment
    if home := environment.get("SIRE_HOME"):
        root = Path(home).absolute()
        return Paths(root / "run", root / "config", root / "data", root / "state")

    def base(variable: str, default: str) -> Path:
        # Relative values are to be ignored, says the specification.
        value = environment.get(variable, "")
        return Path(value) if value.startswith("/") else Path.home() / default

    return Paths(
        runtime=_runtime_base(environment) / "sire",
        config=base("XDG_CONFIG_HOME", ".config") / "sire",
        data=base("XDG_DATA_HOME", ".local/share") / "sire",
        state=base("XDG_STATE_HOME", ".local/state") / "sire",
    )


def _runtime_base(environment: Mapping[str, str]) -> Path:
    """XDG_RUNTIME_DIR, or what stands in for it where no login session set one (cron)."""
    if (given := environment.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        return Path(given)
    by_login = Path(f"/run/user/{os.getuid()}")
    if by_login.is_dir():
        return by_login
    return Path(tempfile.gettempdir()) / f"runtime-{os.getuid()}"


def private_directory(path: Path) -> Path:
    """Create a directory that only its owner can enter, or check that an existing one is.

    Parents that are missing are made the same way, whatever the umask.

    Raises:
        DaemonUnavailable: it or its parent is open to others, or it cannot be made.
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
    """Remove what a dead daemon left where a socket is to be.

    Raises:
        DaemonUnavailable: it is a directory, or cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        kind = "is a directory" if path.is_dir() else f"cannot be removed: {problem.strerror}"
        raise DaemonUnavailable(
            f"{path} {kind}, and the daemon's socket belongs there.",
            hint=f"Move it away: mv {path} {path}.old",
        ) from None


def check_owner(path: Path) -> None:
    """Make sure that nobody else can put another directory in this one's place.

    Raises:
        DaemonUnavailable: it belongs to somebody else, or what it lies in does, or is open to all.
        FileNotFoundError: there is no such directory.
    """
    hint = "Set XDG_RUNTIME_DIR or SIRE_HOME to a directory of your own."
    for directory, owners in ((path, {os.getuid()}), (path.parent, {os.getuid(), 0})):
        if (owner := directory.stat().st_uid) not in owners:
            raise DaemonUnavailable(f"{directory} belongs to uid {owner}, not to you.", hint=hint)
    mode = path.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise DaemonUnavailable(
            f"Everybody may write to {path.parent}, and so replace {path.name} in it.",
            hint=f"Close it: chmod o-w {path.parent}",
        )


def nearest_file_hint(path: Path) -> str:
    """A hint that names the file nearest to one that is not there; "" where none is near."""
    from sire.nearest import nearest  # noqa: PLC0415 (few need it, and all would wait for it)

    try:
        near = nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""
    return f"Did you mean {path.with_name(near)}?" if near else ""
