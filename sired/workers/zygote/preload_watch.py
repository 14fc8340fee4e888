"""Imported first by the zygote: it does not go on importing for a daemon that is gone.

Until everything is imported it does not look for the daemon's end, and after it nobody needs this.
"""

import os
import signal

_LOOK_SECONDS = 0.1
# Who was meant to be the parent: it may be gone already.
_daemon = os.environ.pop("SIRE_ZYGOTE_OF", "")


def _look(*_: object) -> None:
    if _daemon not in {"", str(os.getppid())}:
        os._exit(0)


def cancel() -> None:
    """Look no more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


signal.signal(signal.SIGALRM, _look)
# What reads files need not know of it.
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
