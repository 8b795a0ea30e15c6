"""The processes of a soak: each in a group of its own with a log of its own, and all gone when this one is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.servers import guard


class Processes:
    """Starts them, finds them by name, ends them.

    Args:
        logs: a folder; a process that is started again goes on in the same file.
        doomed: a folder that is removed, too, if this process is killed.
    """

    def __init__(self, logs: Path, doomed: Path | None = None) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        if doomed is not None:
            guard.keep(doomed)

    def start(
        self, name: str, command: list[str], environ: Mapping[str, str], *, folder: Path, talks: bool = False
    ) -> subprocess.Popen[bytes]:
        """Starts one; `talks`: its input and output are pipes, and only its errors go to its log."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                start_new_session=True,
            )
        if name in self._running:
            guard.forget(self._running[name].pid)
        guard.watch(process.pid)
        self._running[name] = process
        return process

    def __getitem__(self, name: str) -> subprocess.Popen[bytes]:
        return self._running[name]

    def runs(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self._running and self._running[name].poll() is None

    def log(self, name: str, characters: int = 3000) -> str:
        """The end of what it wrote."""
        path = self._logs / f"{name}.log"
        return path.read_text(errors="replace")[-characters:] if path.exists() else ""

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends one a signal; nothing happens if it has ended."""
        if self.runs(name):
            self._running[name].send_signal(number)

    def kill(self, name: str) -> None:
        """SIGKILL to it and to what it has started."""
        process = self._running[name]
        guard.forget(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self, name: str, seconds: float) -> int | None:
        """SIGTERM, and SIGKILL when that was not enough; its exit status, None if it had to be killed."""
        if name not in self._running:
            return None
        self.signal(name, signal.SIGTERM)
        try:
            return self._running[name].wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(name)
            return None

    def close(self) -> None:
        """Kills all. May be called twice."""
        for name, process in self._running.items():
            self.kill(name)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
