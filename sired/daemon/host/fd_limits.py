"""How many files the daemon may have open, and how many it has.

A connection takes one descriptor, its process another. ZeroMQ ends the whole process when it can
accept no more, so no more are let in while there is still room for what the daemon itself needs.
"""

import resource
from pathlib import Path

# More than anybody connects with; more yet would slow down programs that close what they may have.
_MOST = 65_536
# How much of the limit connections may use.
_SHARE = 0.75


def allow_many() -> None:
    """Raise this process's own limit as far as it may, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def few_left() -> bool:
    """Whether what is left had better be kept for the daemon's own needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()) > limit * _SHARE
    except OSError:  # there is not even one to look with
        return True
