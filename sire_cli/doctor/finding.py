"""What a check has found."""

from typing import Literal

import msgspec

State = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        check: what was looked at.
        state: ok; warning where something works worse than it could; problem where it does not.
        found: how it is.
        advice: what to do about it; empty where nothing is.
    """

    check: str
    state: State
    found: str
    advice: str = ""
