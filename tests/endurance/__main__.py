"""``make soak``: a thousand cycles, two minutes of chaos, then a soak for as long as is wanted."""

import argparse
import sys

from tests.endurance import chaos
from tests.endurance.cycles import cycle, growth
from tests.endurance.soak import Soak, prepare
from tests.home import Home

CYCLES, EVERY = 1000, 50
CHAOS_SECONDS = 120


def main() -> int:
    """Run all of them, each in a daemon of their own; 1 if anything was not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long to soak")
    parser.add_argument("--cycles", type=int, default=CYCLES, help="loads and unloads before it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chaos", type=int, default=1, help="seeds of chaos, from --seed on")
    given = parser.parse_args()
    calm = [_chaos(seed) for seed in range(given.seed, given.seed + given.chaos)]
    home = Home()
    try:
        prepare(home, home.path)
        grown = _cycles(home, given.cycles)
        soak = Soak(home, given.seed, kill_workers=2.0, kill_daemon=45.0)
        counters = soak.run(3600 * given.hours, print)
        print(counters)
    finally:
        home.close()
    return int(not (counters.flawless and all(calm)) or grown > 2 << 20)


def _chaos(seed: int) -> bool:
    """Whether nothing was lost, late or wrong."""
    home = Home()
    try:
        chaos.prepare(home, home.path)
        counters = chaos.Chaos(home, seed).run(CHAOS_SECONDS)
    finally:
        home.close()
    print(f"chaos, seed {seed}:\n{counters}\n", flush=True)
    return counters.flawless


def _cycles(home: Home, count: int) -> float:
    """Bytes that the daemon grows by in a thousand cycles."""
    if count < 4 * EVERY:
        return 0.0
    with home.connect() as connection:
        found = []
        for held in cycle(connection, home.pid(), "m0", count, EVERY):
            found.append(held)
            print(f"{EVERY * len(found)} cycles: {held}", flush=True)
    # What is kept of the latest thousand answers is kept from then on.
    grown = 1000 * growth([held.memory for held in found[len(found) // 4 :]], EVERY)
    print(f"{grown / 1024:.0f} KiB more for every thousand cycles")
    return grown


if __name__ == "__main__":
    sys.exit(main())
