"""The checks of ``sire doctor``: one function each, in the order of the output."""

from sire.paths import Paths, find_paths
from sire_cli.doctor.finding import Finding
from sire_cli.doctor.gpus import gpus
from sire_cli.doctor.machine import (
    disk,
    open_files,
    private_directories,
    shared_memory,
    socket_path,
)
from sire_cli.doctor.packages import Versions, cuda_versions, onnxruntime_twice, versions
from sire_cli.doctor.running import daemon, driver, driver_version, lingering, settings

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Run every check; a finding that is not ok contains advice."""
    paths: Paths = find_paths()
    found: Versions = versions()
    answer = driver_version()
    cuda = None if isinstance(answer, str) else answer
    return [
        driver(answer),
        gpus(found.torch_architectures),
        onnxruntime_twice(found),
        cuda_versions(found, cuda),
        private_directories(paths),
        socket_path(paths),
        disk(paths),
        shared_memory(),
        open_files(),
        lingering(),
        settings(),
        daemon(paths),
    ]
