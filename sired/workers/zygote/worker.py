"""Where a worker begins: in a process that the zygote forked, or in a new one."""

import importlib
import os
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import msgspec

from sired.workers.confinement import Confinement


def main() -> None:
    """Be the worker whose connection, log and confinement the arguments state."""
    number, log, confinement = sys.argv[1:]
    del sys.argv[1:]
    connection = socket.socket(fileno=int(number))
    connection.set_inheritable(False)
    run_worker(connection, log, msgspec.json.decode(confinement, type=Confinement))


def run_worker(connection: socket.socket, log: str, confinement: Confinement) -> NoReturn:
    """Run a worker, and end the process with it."""
    code = 0
    try:
        # By name: the daemon starts this module, and the zygote has it before the frameworks.
        importlib.import_module("sired.workers.child.main").main(connection, log, confinement)
    except BaseException:  # what goes on after a fork is the zygote's
        code = 1
        with suppress(OSError, ValueError):  # the model closed what it could be printed to
            traceback.print_exc()
            sys.stderr.flush()
    os._exit(code)
