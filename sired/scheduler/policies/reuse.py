"""The history of a model's requests, and an estimate of how soon the next one will arrive.

A scheduler that ends a model pays the load time again when the next request arrives: the sooner
that is, the higher the cost of ending it. The gaps between the requests for each model are
summarised in a dozen numbers, so an arrival costs the same however many came before.

Two views of the same gaps give two rates, and the higher one counts:

*The long run.* From a random moment, the expected time to the next request is
E[gap²] / 2 E[gap] (the mean residual life of renewal theory): the mean gap for random arrivals,
half the mean gap for regular arrivals, and about half the pause for bursts, however many requests
each burst has. The longer a model idles beyond that, the less the estimate is trusted: a model
that has been idle for ``a`` seconds is not expected before ``a / DOUBT`` seconds. (Hyperbolic
caching, Blankstein et al. 2017, divides by age in the same way.)

*The moment.* In the middle of a session the next request is seconds away, whatever the long run
suggests. Of all durations for which the model could be kept from now on, the best one yields the
most requests per second kept, as predicted by the gaps longer than the present idle time: the
Gittins index, which LHD (Beckmann et al. 2018) uses as hit density. The maximum of many noisy
estimates is biased upwards, so it counts only as far as it exceeds the long run by more than that.
"""

from bisect import bisect
from dataclasses import dataclass, field

# The weight of the newest gap against all earlier ones; the first few gaps have equal weights.
WEIGHT = 0.05
# One random arrival in twenty is three mean gaps late: only rarer delays are significant.
DOUBT = 3.0
# Seconds until the second request for a model is expected.
FIRST_GAP = 300.0
# Seconds; below what a clock can resolve.
SHORTEST_GAP = 1e-6
# Gaps are sorted by their order of magnitude, in seconds: below 4, 16, ..., 4^9 (three days).
BOUNDS = tuple(4.0**power for power in range(1, 10))


@dataclass(slots=True, eq=False)
class ReuseHistory:
    """A summary of a model's requests and loads.

    Attributes:
        load_seconds: an average of its load times, in which the last one counts half; 0 before the
            first load.
        wake_seconds: how long its last wake-up took; 0 before the first.
    """

    load_seconds: float = 0.0
    wake_seconds: float = 0.0
    _last: float | None = None
    _gaps: int = 0
    _gap: float = 0.0
    _gap_squared: float = 0.0
    _by_length: list[float] = field(default_factory=lambda: [0.0] * len(BOUNDS))

    def arrived(self, now: float) -> None:
        """Record a request."""
        last, self._last = self._last, now
        # Requests of the same instant count as one use.
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
        """Record how long a load took."""
        known = self.load_seconds
        self.load_seconds = (known + seconds) / 2 if known else seconds

    def reuse_rate(self, idle: float) -> float:
        """Requests per second to expect for a model that has been idle for ``idle`` seconds."""
        residual = self._gap_squared / (2 * self._gap) if self._gaps else FIRST_GAP
        long_run = 1 / max(residual, idle / DOUBT, SHORTEST_GAP)
        return max(long_run, self._at_the_moment(idle) / DOUBT)

    def _at_the_moment(self, idle: float) -> float:
        """The most requests per second that keeping the model for some time from now may yield."""
        first = bisect(BOUNDS, idle)
        if first == len(BOUNDS):
            return 0.0
        begin = BOUNDS[first - 1] if first else 0.0
        counts = self._by_length[first:]
        # Gaps are assumed to be uniform between two bounds: some of these are shorter than idle.
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
