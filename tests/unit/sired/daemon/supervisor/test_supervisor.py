"""The supervisor once the daemon shuts down."""

import asyncio
from pathlib import Path

from sired.daemon.supervisor.supervisor import WorkerSupervisor
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
