"""A server as a process, what it writes kept line by line; ended with the process that started it.

What writes to a file, and is asked until it answers, is a `tests.servers.child.Child`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers import guard

WAIT_SECONDS = 60.0


class Program:
    """One process, in a session of its own.

    Args:
        command: the program and its arguments.
        folder: its working directory.
        environ: the whole of its environment.
        listens: it has an input, which ends with `hang_up`.
    """

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str], listens: bool = False) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        guard.watch(self._process.pid)
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="a program's output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has written."""
        with self._changed:
            return "".join(self._lines)

    @property
    def lines(self) -> list[str]:
        """The same, by lines."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, pattern: str, seconds: float = WAIT_SECONDS, count: int = 1) -> str:
        """The line in which the pattern is found for the `count`th time, written already or still to come.

        Raises:
            AssertionError: the process ended without it, or it did not come in time; with the whole output.
        """
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in self._lines if re.search(pattern, line)]
            return len(found) >= count or self._ended

        with self._changed:
            self._changed.wait_for(look, seconds)
            if len(found) < count:
                raise AssertionError(f"no line with {pattern!r}, {count} times, in:\n{''.join(self._lines)}")
            return found[count - 1]

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self._process.send_signal(number)

    def terminate(self, seconds: float = WAIT_SECONDS) -> tuple[int, float]:
        """SIGTERM; its exit status and how long the end took."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        return self.wait(seconds), time.monotonic() - begun

    def hang_up(self) -> None:
        """Its input ends. May be called twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """Its exit status, when it has ended; all output has been read then."""
        status = self._process.wait(seconds)
        guard.forget(self._process.pid)
        self._reader.join(seconds)
        return status

    def kill(self) -> None:
        """Ends it in any case. May be called twice."""
        guard.forget(self._process.pid)  # from here on its id may be another's
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(WAIT_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
