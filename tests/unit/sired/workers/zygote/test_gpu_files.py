"""A zygote that has opened a GPU ends, because its workers could not use CUDA."""

import subprocess
import sys
from pathlib import Path

from sired.workers.zygote.gpu_files import opened

CODE = """
import sys
from sired.workers.zygote.gpu_files import end_if_opened
end_if_opened(sys.argv[1])
device = open(sys.argv[1] + "ctl")
end_if_opened(sys.argv[1])
print("goes on")
"""


def test_a_process_that_has_opened_a_gpu_ends_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    command = [sys.executable, "-c", CODE, str(tmp_path / "nvidia")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"has opened {tmp_path}/nvidiactl" in done.stderr
    assert done.stdout == ""


def test_importing_every_framework_opens_no_gpu() -> None:
    code = (
        "from sired.runtimes.discovery import installed\n"
        "from sired.workers.zygote.preload import preload\n"
        "preload(installed())\n"
        "print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "goes on\n", done.stderr


def test_what_this_process_has_open_is_found(tmp_path: Path) -> None:
    with (tmp_path / "nvidia0").open("w"):
        assert opened(str(tmp_path / "nvidia")) == [str(tmp_path / "nvidia0")]
    assert opened(str(tmp_path / "nvidia")) == []
