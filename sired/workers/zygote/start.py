"""Starts a module of ours in a new process that imports from where this one does."""

import json
import subprocess
import sys

# Only with -P this script itself imports nothing from the current directory.
_SCRIPT = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); import {0}; {0}.main()"


def start_module(module: str, descriptor: int, *arguments: str) -> "subprocess.Popen[bytes]":
    """Run the function ``main`` of a module.

    Its arguments are the number of the descriptor, which it inherits, and these. It has our
    directory, environment and output, and no input.

    Raises:
        OSError: no process can be started.
    """
    script = _SCRIPT.format(module)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", script, json.dumps(sys.path), str(descriptor), *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )
