"""The limit on the daemon's open file descriptors, and how much of it is in use.

A connection takes one descriptor, and its process another. New clients are held off while few are
left, so that the daemon's own needs are met: loads, and files that it reads.
"""

import os
import resource

# More than clients ever need. A higher limit slows down programs that close every descriptor they
# may have.
_HIGHEST_LIMIT = 65_536
# The share of the limit that connections may use, and what must be left in any case: the
# connections accepted since the last count, and what loads take.
_SHARE = 0.75
_LEFT = 80


def raise_limit() -> None:
    """Raise this process's own limit as far as permitted, up to ``_HIGHEST_LIMIT``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _HIGHEST_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _HIGHEST_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def nearly_exhausted() -> bool:
    """Whether the remaining descriptors must be kept for the daemon's own needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        taken = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (called for every burst)
        return taken > min(limit * _SHARE, limit - _LEFT)
    except OSError:  # no descriptor is left to list them with
        return True
