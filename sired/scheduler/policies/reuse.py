"""When a model was asked for so far, and how soon it is likely to be asked for again.

A scheduler that ends a model pays its load time again when the next request comes, so the sooner
that is, the dearer the model. Known of each model are the gaps between its requests, summed up in
a dozen numbers: an arrival costs the same however many went before.

Two views of the same gaps give two rates, and the higher one counts:

*The long run.* Who looks at a random moment waits E[gap²] / 2 E[gap] for the next request
(renewal theory's mean residual life): the mean gap if requests come at random, half of it if they
come like clockwork, and about half the pause if they come in bursts, however many each has. The
longer a model idles beyond that, the less it is believed: what has been idle for ``a`` is not
expected before ``a / DOUBT``. (Hyperbolic caching, Blankstein et al. 2017, divides by age alike.)

*The moment.* In the middle of a session the next request is seconds away, whatever the long run
says. Of all times one could keep the model from now on, the best one yields the most requests per
second kept, as the gaps longer than the present idle time foretell: the Gittins index, which
LHD (Beckmann et al. 2018) uses as hit density. A best of many is too high by chance, so it counts
only as far as it exceeds the long run by more than chance does.
"""

from bisect import bisect
from dataclasses import dataclass, field

# How much the newest gap weighs against all earlier ones; the first few weigh alike.
WEIGHT = 0.05
# A random arrival is three mean gaps late once in twenty times: only what is rarer tells anything.
DOUBT = 3.0
# After its first request a model is expected back in this many seconds.
FIRST_GAP = 300.0
# Seconds; what is less than a clock can tell apart.
SHORTEST_GAP = 1e-6
# Gaps are sorted by their order of magnitude, in seconds: below 4, 16, ..., 4^9 (three days).
BOUNDS = tuple(4.0**power for power in range(1, 10))


@dataclass(slots=True, eq=False)
class ReuseHistory:
    """What is remembered of a model's requests and loads.

    Attributes:
        load_seconds: how long its last loads took, the last one counting half; 0 before the first.
        wake_seconds: how long it last took to wake; 0 before.
    """

    load_seconds: float = 0.0
    wake_seconds: float = 0.0
    _last: float | None = None
    _gaps: int = 0
    _gap: float = 0.0
    _gap_squared: float = 0.0
    _by_length: list[float] = field(default_factory=lambda: [0.0] * len(BOUNDS))

    def arrived(self, now: float) -> None:
        """Note a request."""
        last, self._last = self._last, now
        # Requests of the same instant are one use.
        if last is None or now <= last:
            return
        gap = now - last
        self._gaps += 1
        weight = max(WEIGHT, 1 / self._gaps)
        self._gap += weight * (gap - self._gap)
        self._gap_squared += weight * (gap * gap - self._gap_squared)
        self._by_length = [count * (1 - WEIGHT) for count in self._by_length]
        self._by_length[min(bisect(BOUNDS, gap), len(BOUNDS) - 1)] += 1

    def loaded(self, seconds: float) -> None:
        """Note how long a load took."""
        known = self.load_seconds
        self.load_seconds = (known + seconds) / 2 if known else seconds

    def reuse_rate(self, idle: float) -> float:
        """Requests per second to expect of a model that has been idle for so many seconds."""
        residual = self._gap_squared / (2 * self._gap) if self._gaps else FIRST_GAP
        long_run = 1 / max(residual, idle / DOUBT, SHORTEST_GAP)
        return max(long_run, self._at_the_moment(idle) / DOUBT)

    def _at_the_moment(self, idle: float) -> float:
        """The most requests per second that keeping it for some time from now on may yield."""
        first = bisect(BOUNDS, idle)
        if first == len(BOUNDS):
            return 0.0
        begin = BOUNDS[first - 1] if first else 0.0
        counts = self._by_length[first:]
        # Gaps are taken to lie evenly between two bounds: some of these are shorter than idle.
        counts[0] *= (BOUNDS[first] - idle) / (BOUNDS[first] - begin)
        left = sum(counts)
        hits = kept = best = 0.0
        for count, end in zip(counts, BOUNDS[first:], strict=True):
            kept += (left - count / 2) * (end - idle)
            left -= count
            hits += count
            if kept:
                best = max(best, hits / kept)
            idle = end
        return best
