"""Run a load test from plan to report."""

import time
from collections.abc import Mapping

from sire.client.connection import Connection
from sire.protocol.counts import ModelStats
from sire.protocol.jobs import JobIds, RemoveJobs
from sire.protocol.replies import ModelInfo, StatsReport
from sire.protocol.requests import Show, Stats
from sire_cli.loadtest.driver import Driver, OnProgress
from sire_cli.loadtest.plan import LoadPlan
from sire_cli.loadtest.report import (
    LoadCounts,
    LoadReport,
    ModelLoadFigures,
    daemon_figures,
    percentile,
)

# Without results, few unread answers are buffered and few unsent requests are counted.
_UNREAD_ANSWERS = 16
_LINGER_SECONDS = 1.0
_JOBS_PER_REQUEST = 500

_StatsByModel = Mapping[str, ModelStats]


def run_load(
    connection: Connection, plan: LoadPlan, on_progress: OnProgress = lambda _: True
) -> LoadReport:
    """Execute a plan and report its results.

    Jobs whose results were read are removed afterwards.

    Args:
        connection: to the daemon.
        plan: what to send, and when.
        on_progress: called ten times per second; when it returns False, open requests are
            withdrawn and the run ends. Its time is part of the measurement.

    Raises:
        ModelNotFound: one of the models does not exist; nothing was sent.
        DaemonUnavailable: the daemon is not running and could not be started.
    """
    for model in dict.fromkeys(plan.models):
        connection.expect(ModelInfo, Show(name=model))
    before = _stats(connection)
    link = connection.open_link(backlog=0 if plan.results else _UNREAD_ANSWERS)
    driver = Driver(link, plan, on_progress)
    try:
        cpu = time.process_time()
        seconds = driver.run()
        cpu = time.process_time() - cpu
        if not driver.daemon_lost:
            driver.withdraw()
    finally:
        link.close(linger=_LINGER_SECONDS)
    after = None if driver.daemon_lost else _stats(connection)
    if plan.results and not driver.daemon_lost:
        _remove_jobs(connection, driver)
    return _report(driver, plan, seconds, cpu, before, after)


def _stats(connection: Connection) -> _StatsByModel:
    return {one.model: one for one in connection.expect(StatsReport, Stats()).models}


def _remove_jobs(connection: Connection, driver: Driver) -> None:
    while driver.jobs:
        batch = tuple(driver.jobs[-_JOBS_PER_REQUEST:])
        connection.expect(JobIds, RemoveJobs(jobs=batch))
        del driver.jobs[-_JOBS_PER_REQUEST:]


def _report(
    driver: Driver,
    plan: LoadPlan,
    seconds: float,
    cpu: float,
    before: _StatsByModel,
    after: _StatsByModel | None,
) -> LoadReport:
    totals = sum(driver.counts_by_model.values(), LoadCounts()).figures(seconds)
    models = tuple(
        ModelLoadFigures(
            **counts.figures(seconds), **daemon_figures(before, after, [model]), model=model
        )
        for model, counts in driver.counts_by_model.items()
    )
    return LoadReport(
        **totals,
        **daemon_figures(before, after, after or ()),
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
