"""Imported first by the zygote: ends it if the daemon ends while it imports the rest.

The fork server detects the daemon's end by itself only once it has imported everything.
"""

import os
import signal

from sired.workers.zygote import variables

_INTERVAL_SECONDS = 0.1
# The expected parent, which may have ended already.
_daemon = os.environ.pop(variables.DAEMON, "")


def _check(*_: object) -> None:
    if _daemon not in {"", str(os.getppid())}:
        os._exit(0)


def cancel() -> None:
    """Stop checking."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


signal.signal(signal.SIGALRM, _check)
# Modules that read files must not have their system calls interrupted.
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, _INTERVAL_SECONDS, _INTERVAL_SECONDS)
