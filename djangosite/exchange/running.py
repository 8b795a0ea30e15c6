"""A demo that runs beside us, for who wants to look at one: the demo's own check, and the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from exchange.demo import READY

PORTS = ("SITE_PORT", "PUSH_PORT", "AMQP_PORT")
END_SECONDS = 8.0


class NotReady(Exception):
    """The demo ended, or took too long; the text is its output."""


class RunningDemo:
    """`python -m exchange.demo` on free ports, as a context manager. At its end it is gone.

    Attributes:
        variables: what it was started with, the ports included.
        process: the runner.
        lines: its output up to now.
    """

    def __init__(
        self, folder: Path, variables: Mapping[str, str] | None = None, command: tuple[str, ...] | None = None
    ) -> None:
        """Start it.

        Args:
            folder: DEMO_DIR.
            variables: more of them; they override what was chosen here.
            command: something else that runs the demo, such as make.
        """
        chosen = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.variables = {**chosen, "DEMO_DIR": str(folder), **(variables or {})}
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            command or (sys.executable, "-m", "exchange.demo"),
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="demo output", daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """The site's origin."""
        return f"http://127.0.0.1:{self.variables['SITE_PORT']}"

    @property
    def output(self) -> str:
        """All of it up to now."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, seconds: float) -> str:
        """The first line that holds this text.

        Raises:
            NotReady: the demo ended without it, or it did not come in time.
        """
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                if found := next((line for line in self.lines if text in line), None):
                    return found
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "ended" if self._ended else f"said nothing like that for {seconds:g} s"
                    raise NotReady(f"waited for {text!r}, and the demo {why}:\n{self.output}")
                self._news.wait(left)

    def wait_ready(self, seconds: float = 45) -> Self:
        """Until site and daemon accept."""
        self.wait_for(READY, seconds)
        return self

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = END_SECONDS) -> int:
        """Ask it to end, and wait; its exit status. `subprocess.TimeoutExpired` if it does not."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Until it has ended; its exit status."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self._reader.join(END_SECONDS)
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that are free at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
