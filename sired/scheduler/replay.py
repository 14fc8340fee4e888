"""``python -m sired.scheduler.replay FILE`` feeds a recording to a fresh brain.

The brain is deterministic: it must give the instructions that were recorded. Where it does not,
either it has been changed since, or something other than an event has changed its state.
``SIRE_RECORD=FILE`` makes a daemon write a recording.
"""

import sys
from collections.abc import Iterable

from sired.scheduler.policies import eviction, placement, routing
from sired.scheduler.policies.eviction import Policy
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router
from sired.scheduler.recording import Policies, Recording, difference


def built_in(names: Policies) -> tuple[Strategy, Router, Policy]:
    """The built-in policies of these names.

    Raises:
        ValueError: a name is not that of a built-in policy.
    """
    try:
        return (
            placement.BUILT_IN[names.placement],
            routing.BUILT_IN[names.routing],
            eviction.BUILT_IN[names.eviction],
        )
    except KeyError as name:
        raise ValueError(
            f"{name} is not a built-in policy, and only these can be replayed"
        ) from None


def replay(lines: Iterable[str]) -> tuple[int, str]:
    """Feed a recording to a fresh brain, up to the first difference.

    Returns:
        How many events were replayed, and that difference in words; "" if there is none.
    """
    recording = Recording(lines, built_in)
    count = 0
    for step in recording.steps():
        count += 1
        if found := difference(step, recording.brain.handle(step.event, step.now)):
            return count, found
    return count, ""


def main(arguments: list[str]) -> int:
    """Replay the file named; returns 0 if every instruction is the recorded one."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m sired.scheduler.replay FILE\n")
        return 2
    try:
        with open(arguments[0], encoding="utf-8") as lines:  # noqa: PTH123 (pathlib imports os)
            count, found = replay(lines)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        sys.stderr.write(f"{arguments[0]} cannot be replayed: {problem}\n")
        return 1
    sys.stdout.write(f"{found}\n" if found else f"{count} events, no difference\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
