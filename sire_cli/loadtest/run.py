"""Putting a load on the daemon, and measuring how it bears it."""

import time
from collections.abc import Mapping

from sire.client.connection import Connection
from sire.protocol.counts import ModelStats
from sire.protocol.replies import JobIds, ModelInfo, StatsReport
from sire.protocol.requests import RemoveJobs, Show, Stats
from sire_cli.loadtest.driver import Driver, OnProgress
from sire_cli.loadtest.plan import LoadPlan
from sire_cli.loadtest.report import LoadCounts, LoadReport, ModelLoadFigures, caused, percentile

# Who does not read answers holds few of them, and does not count much that has not left.
_UNREAD = 16
_LEAVE_SECONDS = 1.0
_JOBS_AT_ONCE = 500

_Counted = Mapping[str, ModelStats]


def put_load(
    connection: Connection, plan: LoadPlan, watch: OnProgress = lambda _: True
) -> LoadReport:
    """Put the load that a plan describes on the daemon, and wait until it is over.

    Jobs whose results were read are removed afterwards.

    Args:
        connection: to the daemon.
        plan: what to send, and when.
        watch: told ten times a second how far it is; when it returns False, what is under way is
            withdrawn and the load is over. The time it takes is measured with the rest.

    Returns:
        What was measured.

    Raises:
        ModelNotFound: one of the models does not exist; nothing was sent.
        DaemonUnavailable: none runs, and none could be started.
    """
    for model in dict.fromkeys(plan.models):
        connection.expect(ModelInfo, Show(name=model))
    before = _count(connection)
    link = connection.open_link(backlog=0 if plan.results else _UNREAD)
    driver = Driver(link, plan, watch)
    try:
        cpu = time.process_time()
        seconds = driver.drive()
        cpu = time.process_time() - cpu
        if not driver.gone:
            driver.withdraw()
    finally:
        link.close(linger=_LEAVE_SECONDS)
    after = None if driver.gone else _count(connection)
    if plan.results and not driver.gone:
        _remove_jobs(connection, driver)
    return _report(driver, plan, seconds, cpu, before, after)


def _count(connection: Connection) -> _Counted:
    return {one.model: one for one in connection.expect(StatsReport, Stats()).models}


def _remove_jobs(connection: Connection, driver: Driver) -> None:
    while driver.jobs:
        some = tuple(driver.jobs[-_JOBS_AT_ONCE:])
        connection.expect(JobIds, RemoveJobs(jobs=some))
        del driver.jobs[-_JOBS_AT_ONCE:]


def _report(
    driver: Driver,
    plan: LoadPlan,
    seconds: float,
    cpu: float,
    before: _Counted,
    after: _Counted | None,
) -> LoadReport:
    everything = sum(driver.counts_by_model.values(), LoadCounts()).figures(seconds)
    models = tuple(
        ModelLoadFigures(**counts.figures(seconds), **caused(before, after, [model]), model=model)
        for model, counts in driver.counts_by_model.items()
    )
    return LoadReport(
        **everything,
        **caused(before, after, after or ()),
        seconds=seconds,
        interrupted=driver.interrupted,
        withdrawn=driver.withdrawn,
        jobs_left=len(driver.jobs),
        seed=plan.seed,
        p99_late_seconds=percentile(sorted(driver.late), 0.99),
        own_cpu_seconds=cpu,
        models=models,
        messages=driver.messages,
    )
