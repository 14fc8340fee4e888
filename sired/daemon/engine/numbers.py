"""Where the numbers that a daemon gives to clients begin."""

import secrets

# A daemon that runs for a century gives out fewer than 2 ** 40 numbers, at 300 a second.
_COUNTING_BITS = 40
_RANDOM_BITS = 22


def first_number() -> int:
    """A number that begins a range of this daemon's own, below 2 ** 62.

    A client may still hold the number of a lease or of a connection when another daemon has taken
    the place of the one that gave it out. There it must mean nothing, not another client's lease.
    """
    return (secrets.randbits(_RANDOM_BITS) << _COUNTING_BITS) + 1
