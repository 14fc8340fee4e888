"""What tests ask about processes."""

import psutil


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie: when that is reaped is up to its parent."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
