"""Calls that may hang, as those to a driver whose GPU has fallen off the bus."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Value = TypeVar("Value")

ANSWER_SECONDS = 10.0


def within(call: Callable[[], Value], seconds: float = ANSWER_SECONDS) -> Value:
    """What a call returns or raises; it goes on in its thread if that takes too long.

    Raises:
        TimeoutError: it has not returned within these seconds.
    """
    answer: Future[Value] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    # A daemon thread, not an executor's: the process must be able to exit while it hangs.
    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
