"""A model that does what its input says, mostly harm; registered as ``--runtime python``."""

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Faulty:
    """Answers {"do": ...}; without it, what it was asked."""

    def __init__(self, at_load: str = "") -> None:
        self.at_load = at_load

    def load(self, path: Path) -> None:
        if self.at_load:
            self.predict({"do": self.at_load})

    def predict(self, asked: dict[str, Any]) -> Any:
        return getattr(self, asked.get("do", "echo"))(**asked)

    def echo(self, **asked: Any) -> Any:
        return asked

    def pid(self, **_: Any) -> int:
        return os.getpid()

    def exit(self, code: int = 3, **_: Any) -> None:
        os._exit(int(code))

    def poison(self, **_: Any) -> None:
        """Fail as a kernel does that leaves the CUDA context of its process unusable."""
        # In a file of its own: this one does not name what the zygote would import for it.
        runpy.run_path(str(Path(__file__).with_name("poison.py")))
        raise RuntimeError("CUDA error: device-side assert triggered")

    def use_gpu(self, **_: Any) -> None:
        """Use the granted GPU, of which CUDA says that it is busy if it is the first."""
        runpy.run_path(str(Path(__file__).with_name("sick_gpu.py")))

    def segfault(self, **_: Any) -> None:
        print("about to read address 0", flush=True)
        ctypes.string_at(0)

    def stop(self, **_: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def spin(self, **_: Any) -> None:
        while True:
            pass

    def wait(self, file: str, **_: Any) -> None:
        """Until there is that file."""
        while not os.path.exists(file):
            time.sleep(0.005)

    def sleep(self, seconds: int = 600, **_: Any) -> None:
        time.sleep(float(seconds))

    def no_memory(self, **_: Any) -> None:
        bytearray(1 << 60)

    def fail(self, **_: Any) -> None:
        raise ValueError("this one cannot be loaded")

    def leave_soon(self, after: float = 0.0, bytes: int = 1, **_: Any) -> dict[str, str]:  # noqa: A002 (a field of the input)
        """Answer with much, and be gone in the middle of that."""
        threading.Timer(float(after), os._exit, (7,)).start()
        return {"text": "x" * int(bytes)}

    def shout(self, bytes: int = 1, stream: str = "stderr", **_: Any) -> int:  # noqa: A002
        line = (stream * 10_000)[:65_535] + "\n"
        out = getattr(sys, stream)
        for _line in range(int(bytes) // len(line)):
            out.write(line)
        out.flush()
        return int(bytes)

    def start_child(self, **_: Any) -> int:
        """A process in the worker's own group."""
        return subprocess.Popen(["sleep", "600"]).pid

    def start_session(self, **_: Any) -> int:
        """One that leads a session of its own."""
        return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

    def start_demon(self, **_: Any) -> int:
        """A process in a group of its own whose parent is gone."""
        script = (
            "import os, time\n"
            "os.setsid()\n"
            "if os.fork(): os._exit(0)\n"
            "print(os.getpid(), flush=True)\n"
            "os.close(1)\n"
            "time.sleep(600)\n"
        )
        started = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
        return int(started.stdout)

    def fork_and_forget(self, **_: Any) -> int:
        """A copy of the worker that goes on without it."""
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, b"%d" % os.getpid())
                time.sleep(600)
            os._exit(0)
        os.wait()
        return int(os.read(reader, 20))

    def fork_and_wait(self, **_: Any) -> Any:
        """Whether a timer runs here once a child was forked and has ended."""
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return self.timer()

    def timer(self, **_: Any) -> bool:
        return signal.getitimer(signal.ITIMER_REAL)[0] > 0

    def leave_a_dead_child(self, **_: Any) -> int:
        """What a shell leaves that goes before what it has started."""
        script = "import os; os.fork() and os._exit(0)"
        return subprocess.run([sys.executable, "-S", "-c", script]).returncode

    def environment(self, **_: Any) -> dict[str, str]:
        return dict(os.environ)
