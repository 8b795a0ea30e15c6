"""Ends what this process has started when this process ends, whatever way: also by SIGKILL.

    watch(pid)                      # it will be killed
    keep(folder)                    # it will be removed
    forget(pid)                     # before the process is reaped, and its id another's

One guard process holds the read end of a pipe, and the list of what there is to end. The pipe ends when the last holder
of its other end is gone. This file is its program, too.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


class _Guard:
    """The list, and the process that is told it at each change."""

    def __init__(self) -> None:
        self._signals: dict[int, int] = {}
        self._folders: set[str] = set()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def watch(self, pid: int, ending: signal.Signals) -> None:
        with self._lock:
            self._signals[pid] = ending
            self._tell()

    def forget(self, pid: int) -> None:
        with self._lock:
            if self._signals.pop(pid, None) is not None:
                self._tell()

    def keep(self, folder: Path) -> None:
        with self._lock:
            self._folders.add(str(folder))
            self._tell()

    def remove(self, folder: Path) -> None:
        with self._lock:
            shutil.rmtree(folder, ignore_errors=True)
            self._folders.discard(str(folder))
            self._tell()

    def end(self) -> None:
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait()

    def _tell(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                text=True,
                bufsize=1,
                start_new_session=True,  # a Ctrl-C is for the tests
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([list(self._signals.items()), sorted(self._folders)]) + "\n")


_guard = _Guard()
atexit.register(_guard.end)


def watch(pid: int, ending: signal.Signals = signal.SIGKILL) -> None:
    """A process that must not outlive this one, nor may its group if it leads one; `ending` is the signal for them."""
    _guard.watch(pid, ending)


def forget(pid: int) -> None:
    """It is going to be reaped."""
    _guard.forget(pid)


def keep(folder: Path) -> None:
    """A folder that must not outlive this process, nor those that it watches."""
    _guard.keep(folder)


def remove(folder: Path) -> None:
    """Such a folder goes now. It may be gone already."""
    _guard.remove(folder)


def _end(processes: list[tuple[int, int]], folders: list[str]) -> None:
    handles = []
    for pid, number in processes:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
        for each in (number, signal.SIGCONT):  # who is stopped hears only SIGKILL
            _send(pid, each)
    for handle in handles:
        _gone(handle)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _send(pid: int, number: int) -> None:
    """To the process, and where it leads a group, as all do that have a session of their own, to the whole of that."""
    with suppress(ProcessLookupError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)


def _gone(handle: int, seconds: float = 10.0) -> None:
    """Waits for the end of a process that is not ours; no longer than that, its folder goes anyhow."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.poll(seconds * 1000)


def _main() -> None:
    told = None
    for line in sys.stdin:
        told = line
    if told is not None:
        _end(*json.loads(told))


if __name__ == "__main__":
    _main()
