"""Control groups of workers, in a directory that looks like the kernel's."""

import os
from pathlib import Path
from typing import Any

import pytest

from sired.workers.control_groups import HEADROOM_BYTES, ControlGroups, join, own_group


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """The group of a service that is alone in it."""
    group = tmp_path / "cgroup" / "user.slice" / "sired.service"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("memory pids")
    return group


def vanish(group: Any) -> None:
    """What the kernel does with a group's files when the directory is to be removed."""
    for file in group.iterdir():
        file.unlink()


def test_ones_own_group_is_found(parent: Path, tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/user.slice/sired.service\n")
    assert own_group(tmp_path / "self", tmp_path / "cgroup") == parent


@pytest.mark.parametrize("membership", ["4:memory:/user.slice/sired.service\n", "0::/gone\n", ""])
def test_others_than_of_version_2_are_not_used(
    parent: Path, tmp_path: Path, membership: Any
) -> None:
    (tmp_path / "self").write_text(membership)
    assert own_group(tmp_path / "self", tmp_path / "cgroup") is None
    assert own_group(tmp_path / "none", tmp_path / "cgroup") is None


def test_the_daemon_moves_out_of_the_way_and_asks_for_the_memory_controller(parent: Path) -> None:
    ControlGroups(parent)
    assert (parent / "daemon" / "cgroup.procs").read_text() == str(os.getpid())
    assert (parent / "cgroup.subtree_control").read_text() == "+memory"


def test_a_worker_gets_a_group_with_its_bound_and_joins_it(parent: Path) -> None:
    group = ControlGroups(parent).make(7, 600)
    assert group == str(parent / "worker-7")
    assert (parent / "worker-7" / "memory.max").read_text() == str(600 + HEADROOM_BYTES)
    assert (parent / "worker-7" / "memory.oom.group").read_text() == "1"
    join(group)
    assert (parent / "worker-7" / "cgroup.procs").read_text() == "0"


def test_what_a_worker_leaves_is_ended_and_its_group_removed_once_that_is_gone(
    parent: Path,
) -> None:
    groups = ControlGroups(parent)
    groups.make(7, 600)
    groups.remove(7)  # a process is still in it
    assert (parent / "worker-7" / "cgroup.kill").read_text() == "1"
    vanish(parent / "worker-7")
    groups.make(8, 600)
    assert not (parent / "worker-7").exists()


def test_a_worker_without_a_bound_has_none(parent: Path) -> None:
    groups = ControlGroups(parent)
    assert groups.make(7, 0) == ""
    groups.remove(7)


def test_where_there_are_none_nothing_is_done() -> None:
    groups = ControlGroups()
    assert groups.make(7, 600) == ""
    groups.remove(7)


def test_a_group_that_is_not_ours_is_left_as_it_was(
    parent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (parent / "cgroup.subtree_control").mkdir()  # writing to it fails
    assert ControlGroups(parent).make(7, 600) == ""
    assert (parent / "cgroup.procs").read_text() == str(os.getpid())
    assert "cannot create control groups" in caplog.text
