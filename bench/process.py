"""Processes pinned to a core, and what they cost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVER_CORE, OTHER_CORE = 0, 1
START_SECONDS = 40.0

_TICK = os.sysconf("SC_CLK_TCK")


class StartFailed(Exception):
    """A server ended, or did not answer in time; the message holds the end of what it wrote."""


def pin(core: int, pid: int = 0) -> None:
    """Keeps a process (0: this one) and its future children on one core, and before other work where that is allowed.

    The kernel shares the processor between sessions first (autogroup), so a session's own weight counts, too.
    """
    os.sched_setaffinity(pid, {core})
    for task in Path(f"/proc/{pid}/task").iterdir() if pid else ():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -15)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid or 'self'}/autogroup").write_text("-17")


def cpu_seconds(pid: int) -> float:
    """User and kernel time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_kb(pid: int) -> int:
    """Memory of a process (`smaps_rollup`; the kernel's socket buffers are not in it)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise StartFailed(f"no Rss of process {pid}")


class Server:
    """A running server on the server's core.

    Args:
        command: it must listen on `port` of 127.0.0.1.
        ready: a path that answers 200 when the server can serve; None: when it accepts it is ready.
        folder: its working directory and its log.
    """

    def __init__(
        self, command: list[str], *, port: int, ready: str | None, folder: Path, environ: dict[str, str]
    ) -> None:
        self._log = folder / "server.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        pin(SERVER_CORE, self.pid)
        try:
            self._wait(port, ready)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The server's."""
        return self._process.pid

    def _wait(self, port: int, ready: str | None) -> None:
        end = time.monotonic() + START_SECONDS
        while not (_accepts(port) if ready is None else _is_ready(port, ready)):
            if self._process.poll() is not None or time.monotonic() > end:
                raise StartFailed(f"{self._process.args!r}\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 8 s."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(8)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _is_ready(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
