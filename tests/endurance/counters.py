"""What a soak counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class SoakCounters:
    """What was asked and what came of it; ``excused`` failed because we killed what was at it."""

    answered: int = 0
    wrong: int = 0
    late: int = 0
    excused: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)
    jobs_submitted: int = 0
    jobs_answered: int = 0
    jobs_excused: int = 0
    jobs_wrong: int = 0
    jobs_lost: int = 0
    workers_killed: int = 0
    daemons_killed: int = 0
    zygotes_killed: int = 0
    stopped: int = 0
    evictions: int = 0
    slowest_seconds: float = 0.0

    @property
    def flawless(self) -> bool:
        """Whether everybody was answered, rightly and in time, and no job was lost."""
        faults = (self.wrong, self.late, self.jobs_wrong, self.jobs_lost)
        return not any(faults) and not self.unexpected

    def __str__(self) -> str:
        return (
            f"{self.answered} requests answered, {self.wrong} wrong, {self.late} late, "
            f"{self.excused} failed with what was killed, slowest {self.slowest_seconds:.1f} s\n"
            f"{self.jobs_submitted} jobs, {self.jobs_answered} answered, {self.jobs_wrong} wrong, "
            f"{self.jobs_excused} failed with what was killed, {self.jobs_lost} lost\n"
            f"{self.workers_killed} workers, {self.zygotes_killed} zygotes and "
            f"{self.daemons_killed} daemons killed, {self.stopped} processes stopped for a while, "
            f"{self.evictions} evictions\n"
            f"unexpected: {dict(self.unexpected) or 'nothing'}"
        )
