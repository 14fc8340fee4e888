"""Ctrl-C waits until a message has been sent whole."""

import os
import signal
import threading

import pytest

from sire.client.interrupts import Uninterrupted


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_is_raised_once_everything_is_done() -> None:
    done = []

    def send() -> None:
        with Uninterrupted():
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        send()
    assert done == ["the rest"]


def test_without_an_interrupt_the_handler_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    uninterrupted = Uninterrupted()
    for _ in range(2):
        with uninterrupted:
            assert signal.getsignal(signal.SIGINT) != before
        assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_the_users_own_is_called() -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: calls.append(number))
    try:
        with Uninterrupted():
            interrupt()
            assert calls == []
        assert calls == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Uninterrupted():
            interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_handler_alone() -> None:
    seen = []

    def look() -> None:
        with Uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
