"""How a child process has ended, read without reaping it: others may watch it as well."""

import os
import select
import signal


def wait_for_exit(pidfd: int, seconds: float | None = None) -> int | None:
    """Wait until a child process has ended.

    Args:
        pidfd: a descriptor of the process.
        seconds: how long to wait; None for as long as it takes.

    Returns:
        Its exit code, negative for a signal; None if it still runs.

    Raises:
        ChildProcessError: it has been reaped.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if not poller.poll(None if seconds is None else seconds * 1000):
        return None
    found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert found is not None  # without WNOHANG
    return exit_code(found)


def exit_code(found: os.waitid_result) -> int:
    """The exit code of a process that has ended; negative for a signal."""
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def described(code: int) -> str:
    """An exit code in words, such as "exit code 1" or "killed by SIGKILL"."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
