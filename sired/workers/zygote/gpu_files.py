"""Ends a zygote that has opened a GPU while it imported frameworks.

What is forked from a process that uses CUDA cannot use it: every load on a GPU would fail. Workers
are spawned without a zygote then, which is slower.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

_DEVICES = "/dev/nvidia"


def opened(devices: str = _DEVICES, process: "int | str" = "self") -> list[str]:
    """The files that a process has open and whose paths begin with ``devices``.

    Raises:
        OSError: the process has ended, or does not show its files.
    """
    found = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # the one that lists them is closed by now
            found.append(str(descriptor.readlink()))
    return sorted(path for path in found if path.startswith(devices))


def end_if_opened(devices: str = _DEVICES) -> None:
    """End the process, with a message in the daemon's log, if it has opened a GPU."""
    if files := opened(devices):
        sys.stderr.write(
            f"The zygote ends: a module that it imported has opened {', '.join(files)}, so that "
            "workers forked from it could not use CUDA. Does a package of yours use CUDA when it "
            "is imported?\n"
        )
        sys.stderr.flush()
        os._exit(1)
