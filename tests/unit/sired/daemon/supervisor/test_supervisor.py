"""The supervisor once the daemon shuts down."""

import asyncio
from pathlib import Path

from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.supervisor.worker import Worker
from sired.workers.zygote.zygote import Zygote


def test_a_timer_that_fires_after_the_supervisor_is_closed_has_no_effect(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("a line\n")
    loop = asyncio.new_event_loop()
    supervisor = WorkerSupervisor(
        loop,
        Zygote(),
        received=lambda *_: None,
        gone=lambda *_: None,
        standby={},
        standby_log=tmp_path / "standby.log",
    )
    supervisor.close()
    supervisor.trim_logs(log)
    loop.close()


def test_a_worker_that_frees_a_gpu_or_ends_a_program_may_take_longer_to_exit() -> None:
    plain = Worker("m", out_of_process=False).exit_grace
    assert Worker("m", out_of_process=False, on_gpu=True).exit_grace > 2 * plain
    assert Worker("m", out_of_process=True).exit_grace > 2 * plain
