"""The result of a check."""

from typing import Literal

import msgspec

State = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        check: the name of the check.
        state: ok; warning if something works worse than it could; problem if it does not work.
        found: what the check found.
        advice: what to do about it; empty if nothing needs to be done.
    """

    check: str
    state: State
    found: str
    advice: str = ""
