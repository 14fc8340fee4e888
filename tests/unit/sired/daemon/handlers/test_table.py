"""Every kind of request in the protocol has a handler, and exactly one."""

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from sire.paths import find_paths
from sire.protocol.requests import Request
from sired.config import load_settings
from sired.daemon.assembly import assemble
from sired.daemon.handlers import RequestHandlers
from sired.daemon.handlers.table import HandlerTable


async def table_of_a_daemon(home: Path) -> HandlerTable:
    paths = find_paths({"SIRE_HOME": str(home)})
    loop = asyncio.get_running_loop()
    parts = assemble(paths, load_settings(paths.config_file, {}, {}), loop, None)
    handlers = RequestHandlers(parts.services, lambda: None)
    parts.services.jobs.close()
    parts.services.engine.close()
    parts.services.front.close()
    return handlers.table


def test_the_handled_requests_are_those_of_the_protocol(tmp_path: Path) -> None:
    table = asyncio.run(table_of_a_daemon(tmp_path))
    assert table.kinds == frozenset(get_args(Request))


def test_a_second_handler_for_a_kind_of_request_is_an_error(tmp_path: Path) -> None:
    table = asyncio.run(table_of_a_daemon(tmp_path))
    kind = get_args(Request)[0]
    with pytest.raises(AssertionError, match=f"{kind.__name__} has two handlers"):
        table.add(kind, lambda client, request, payload: None)
