"""A server as a child process: in a session of its own, its output in a file, ended with the process that started it.

child = Child([...], folder=folder, environ={...}, log=folder / "log")
child.wait_until(lambda: answers(port), START_SECONDS)
child.freeze(); child.thaw(); child.terminate(); child.kill()

`private_folder()` makes a folder that goes with this process, too. What is written line by line and waited for is a
`tests.servers.program.Program`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.servers import guard

END_SECONDS = 60.0


class ServerFailed(Exception):
    """A server could not be started, or one of its tools failed; the message holds the end of its log."""


def private_folder(name: str) -> Path:
    """A new folder that only this user can read; `guard.remove` removes it, at the latest when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"livepush-{name}-"))
    guard.keep(folder)
    return folder


class Child:
    """One process.

    Args:
        command: the program and its arguments.
        folder: its working directory.
        environ: the whole of its environment.
        log: the file that all it writes is added to.
        account: user and group id that it runs as; without them, as ourselves.
        ending: the signal that ends it and its own children at once.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
        account: tuple[int, int] | None = None,
        ending: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._log, self._ending = log, ending
        user, group = account or (None, None)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a Ctrl-C is for the tests
                user=user,
                group=group,
            )
        guard.watch(self._process.pid, ending)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is alive; frozen is alive."""
        if self._process.poll() is None:
            return True
        guard.forget(self._process.pid)
        return False

    def wait_until(self, ready: Callable[[], bool], seconds: float, *, needed: bool = True) -> None:
        """Asks until it is ready: a server that can't tell by itself.

        Args:
            needed: False: it may end, because another one like it was quicker; that one is to be ready then.

        Raises:
            ServerFailed: it ended, or was not ready in time; with the end of its log.
        """
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not ready():
            if needed or self.running:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.05)
            else:
                pause.wait(0.05)
            if needed and not self.running:
                raise self._failed(f"ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"is not ready after {seconds:g} s")

    def send(self, number: signal.Signals) -> None:
        """A signal, if it is alive."""
        if self.running:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP: it neither answers nor goes."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def wait(self, seconds: float) -> int:
        """Its exit status.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        status = self._process.wait(seconds)
        guard.forget(self._process.pid)
        return status

    def terminate(self, seconds: float = END_SECONDS) -> None:
        """SIGTERM; killed when it has not ended in time."""
        self.send(signal.SIGTERM)
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it at once, in any case. May be called twice."""
        if self.running:
            guard.forget(self._process.pid)  # from here on its id may be another's
            self._process.send_signal(self._ending)
            self._process.send_signal(signal.SIGCONT)  # who is stopped hears only SIGKILL
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _failed(self, what: str) -> ServerFailed:
        command = os.fspath(self._process.args[0]) if isinstance(self._process.args, list) else self._process.args
        return ServerFailed(f"{command!r} {what}\n{tail(self._log)}")


def tail(log: Path, characters: int = 4000) -> str:
    """The end of a log, its name above it; empty if there is none."""
    return f"--- {log.name}\n{log.read_text(errors='replace')[-characters:]}" if log.exists() else ""
