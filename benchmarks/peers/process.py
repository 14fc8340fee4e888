"""A peer's server as a process of its own virtual environment."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import Workload

START_SECONDS = 60.0

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server of the same models.

    Attributes:
        name: for people.
        environment: the directory of its virtual environment.
        module: which serves the model that PEER_MODEL and the other variables describe.
        options: of the module.
    """

    name: str
    environment: str
    module: str
    options: Sequence[str]

    @contextmanager
    def running(
        self, workload: Workload, weights: Path, answers: Callable[[], bool]
    ) -> Iterator[None]:
        """Start it, wait until it answers, and kill it in the end.

        Args:
            workload: the model that it serves.
            weights: the file of that.
            answers: whether it answers by now.
        """
        with tempfile.NamedTemporaryFile(prefix=f"{self.name}-") as log:
            process = self._start(workload, weights, Path(log.name))
            try:
                deadline = time.monotonic() + START_SECONDS
                while not answers():
                    if process.poll() is not None or time.monotonic() > deadline:
                        written = Path(log.name).read_text()
                        sys.exit(f"{self.name} does not answer. It wrote:\n{written}")
                    time.sleep(0.05)
                yield
            finally:
                # Asked to leave it takes seconds; there is nothing here that it could lose.
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, workload: Workload, weights: Path, log: Path) -> "subprocess.Popen[bytes]":
        python = _ROOT / self.environment / "bin/python"
        if not python.exists():
            sys.exit(f"There is no {self.name} in {self.environment} to compare with: make peer")
        environment = {
            "GOMP_SPINCOUNT": "1000",  # what sire's zygote sets
            # Triton embeds Python: the library has to be that of the interpreter.
            "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"),
            **os.environ,
            "PEER_MODEL": workload.class_name,
            "PEER_WEIGHTS": str(weights),
            "PEER_SHAPE": ",".join(str(length) for length in workload.shape),
            "PEER_BATCH": str(workload.batch),
        }
        with log.open("wb") as output:
            return subprocess.Popen(
                [python, "-m", self.module, *self.options],
                cwd=_ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def free_port() -> int:
    """A port of the loopback interface on which nothing listens."""
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        return int(unbound.getsockname()[1])
