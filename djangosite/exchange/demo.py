"""`python -m exchange.demo`: the whole exchange in the foreground, for `make demo`.

Three children under one runner, each the head of a session of its own, so that a Ctrl-C in the terminal reaches the
runner alone, which then ends them in order:

    site    gunicorn, 2 workers with 4 threads
    push    twistd -n livepush
    locks   manage.py free_locks

    what happens                                        what the runner does
    --------------------------------------------------  --------------------------------------------------------------
    a variable is wrong, a port is taken                says so in one line that names the variable; exit 2
    SIGINT, SIGTERM, SIGHUP; the parent is gone; make   SIGTERM to site and locks; to push when they have ended, or
    was sent a SIGHUP, which it does not pass on        after 2 s; SIGKILL to whatever is left after 4 s; exit 0
    the same again                                      SIGKILL at once
    a child ends by itself                              says which and how, ends the others; exit 1
    nobody reads our output, or its reader has gone     lines are dropped and counted; or as SIGHUP

Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import queue
import re
import signal
import socket
import sys
import sysconfig
import threading
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from exchange.environment import ROOT, BadVariable, Environment

PUBLISHERS_SECONDS = 2.0
KILL_SECONDS = 4.0
PARENT_SECONDS = 0.25
STILL_WAITING_SECONDS = 15.0
PROBE_SECONDS = 5.0
LINES = 10_000
LINE_BYTES = 16_384
PR_SET_PDEATHSIG = 1  # prctl(2)

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASKED_NAMES = tuple(number.name for number in ASKED)
READY = "livepush demo ready:"
WHO = """\
  anna and boris are clients, mod is a moderator, guest may see nothing, admin is a superuser (also in /admin/);
  the password of each is: livepush"""


class Output:
    """Lines for the terminal, written by a thread of its own: a reader that stops must not stop the runner.

    Holds 10,000 lines; what comes when it is full is dropped, and the number told when there is room again.
    """

    def __init__(self, file: int, on_closed: Callable[[], object]) -> None:
        self._file, self._on_closed = file, on_closed
        self._lines: queue.Queue[str | None] = queue.Queue(LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """Never blocks."""
        try:
            if self._dropped:
                self._lines.put_nowait(f"demo| {self._dropped} lines dropped")
                self._dropped = 0
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def close(self, seconds: float) -> None:
        """Write what is there; gives up after so long."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            try:
                data = f"{text}\n".encode()
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError:
                self._on_closed()
                return


@dataclass
class Child:
    """One process of the demo."""

    name: str
    process: Process
    reading: asyncio.Task[None]

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    @property
    def end(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"

    def send(self, number: signal.Signals) -> None:
        """A signal to the process itself."""
        if self.running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """The end of it, and of what it started in its session: gunicorn's workers."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Demo:
    """The runner."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._variables = {
            **os.environ,
            **environment.variables,
            "DJANGO_SETTINGS_MODULE": "exchange.settings",
            "PYTHONUNBUFFERED": "1",
        }
        self._children: list[Child] = []
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._why = ""
        self._output = Output(sys.stdout.fileno(), self._no_reader)

    async def run(self) -> int:
        """Until asked to end, or a child ends. Returns the exit status."""
        for number in ASKED:
            self._loop.add_signal_handler(number, self._ask, number.name)
        work = asyncio.create_task(self._work())
        asked, parent = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._watch_parent())
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        failed = work.done()
        if failed and (error := work.exception()):
            self._output.line(f"demo| {error}")
        elif not failed:
            self._output.line(f"demo| {self._why}: ending")
        for task in (work, asked, parent):
            task.cancel()
        await self._end()
        self._output.close(0.3)
        return 1 if failed else 0

    async def _work(self) -> None:
        """Start everything; returns when a child has ended."""
        manage = (sys.executable, str(ROOT / "djangosite" / "manage.py"))
        data = await self._start("site", *manage, "demo_data")
        if await data.process.wait():
            await data.reading
            self._output.line(f"demo| preparing the database {data.end}")
            return
        self._children.remove(data)

        scripts = Path(sysconfig.get_path("scripts"))
        port = str(self._environment.push_port)
        twistd = (str(scripts / "twistd"), "-n", "--pidfile=", "livepush", "--settings", "exchange.settings")
        await self._start("site", str(scripts / "gunicorn"), "-c", "python:exchange.serving", "exchange.wsgi")
        await self._start("push", *twistd, "--pythonpath", str(ROOT / "djangosite"), "--port", port)
        await self._start("locks", *manage, "free_locks")

        ready = asyncio.create_task(self._announce())
        ends = [asyncio.create_task(child.process.wait()) for child in self._children]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ready, *ends):
                task.cancel()
        for child in self._children:
            if not child.running:
                await asyncio.wait([child.reading], timeout=0.5)  # its last words first
                self._output.line(f"demo| {child.name} {child.end}: ending the others")

    async def _start(self, name: str, *command: str) -> Child:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=self._variables,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent(),
        )
        child = Child(name, process, asyncio.create_task(self._read(name, process)))
        self._children.append(child)
        return child

    async def _read(self, name: str, process: Process) -> None:
        """Hand a child's output on, line by line; a line without an end is cut at 16 KiB."""
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._output.line(f"{name}| {line.decode(errors='replace').rstrip()}")
        if rest:
            self._output.line(f"{name}| {rest.decode(errors='replace')}")

    async def _announce(self) -> None:
        """Say when site and daemon accept; every 15 s which of them does not yet."""
        site, push = self._environment.site_port, self._environment.push_port
        probes = {"site": (site, "/accounts/login/"), "push": (push, "/readyz")}
        asked = time.monotonic()
        while probes:
            for name, (port, path) in list(probes.items()):
                status = await _status(port, path)
                if status == HTTPStatus.OK:
                    del probes[name]
                elif time.monotonic() - asked > STILL_WAITING_SECONDS:
                    asked = time.monotonic()
                    answer = f"answers {status}" if status else "does not answer"
                    self._output.line(f"demo| still waiting: {name} {answer} at http://127.0.0.1:{port}{path}")
            await asyncio.sleep(0.1)
        self._output.line(f"{READY} http://127.0.0.1:{site}/")
        self._output.line(WHO)

    async def _watch_parent(self) -> None:
        """Returns never, but asks to end when the parent has gone or, if it is make, was hung up."""
        parent = os.getppid()
        was_catching = "MAKELEVEL" in os.environ and catches_hangup(parent)
        while True:
            if os.getppid() != parent:
                self._ask("the parent process is gone")
            # make answers SIGHUP by waiting for its children, whom it does not tell: but while it waits, the signal
            # has its default meaning again.
            elif was_catching and catches_hangup(parent) is False:
                self._ask("make was hung up")
            await asyncio.sleep(PARENT_SECONDS)

    def _ask(self, why: str) -> None:
        if not self._stop.is_set():
            self._why = why
            self._stop.set()
        elif why in ASKED_NAMES:
            self._hurry.set()

    def _no_reader(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ask, "nobody reads the output")
        except RuntimeError:
            return  # the loop is closed: it is ending anyway

    async def _end(self) -> None:
        """End the children: whoever publishes first, the daemon with the broker when they have ended."""
        begun = time.monotonic()
        waiting: asyncio.Task[Any] = asyncio.create_task(self._hurry.wait())
        publishers = [child for child in self._children if child.name != "push"]
        for children, until in ((publishers, PUBLISHERS_SECONDS), (self._children, KILL_SECONDS)):
            for child in children:
                child.send(signal.SIGTERM)
            ended: asyncio.Task[Any] = asyncio.create_task(_all_ended(children))
            left = max(0.0, begun + until - time.monotonic())
            await asyncio.wait([ended, waiting], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        waiting.cancel()
        for child in self._children:
            if child.running:
                self._output.line(f"demo| {child.name} did not end by itself: killed")
            child.kill()
        await asyncio.wait([child.reading for child in self._children] or [waiting], timeout=0.3)


async def _all_ended(children: Sequence[Child]) -> None:
    for child in children:
        await child.process.wait()


def check_ports(environment: Environment) -> None:
    """See that every port can be listened on; `BadVariable` names the first that can't."""
    for name, port in environment.ports.items():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(1)
            except OSError as error:
                taken = "is taken by another program" if error.errno == errno.EADDRINUSE else f"is refused ({error})"
                raise BadVariable(f"port {port} {taken}: choose another, as in {name}={_other(port)}") from error


def lock_folder(environment: Environment) -> int:
    """Hold the demo's folder for this process; `BadVariable` if another one does."""
    folder = os.open(environment.demo_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(folder)
        raise BadVariable(f"DEMO_DIR {environment.demo_dir} is in use by a demo that runs: end it first") from error
    return folder


def main(arguments: list[str]) -> int:
    """Run the demo, or with `--reset` remove its folder. Returns the exit status."""
    try:
        environment = Environment.read(os.environ)
        if arguments == ["--reset"]:
            return _reset(environment)
        if arguments:
            raise BadVariable("python -m exchange.demo takes no argument but --reset; see exchange/environment.py")
        check_ports(environment)
        environment.prepare()
        folder = lock_folder(environment)
    except BadVariable as error:
        print(f"livepush demo: {error}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_run(environment))
    finally:
        os.close(folder)


async def _run(environment: Environment) -> int:
    return await Demo(environment).run()


def _reset(environment: Environment) -> int:
    if environment.demo_dir.is_dir():
        os.close(lock_folder(environment))
    removed = environment.remove()
    print(f"{environment.demo_dir} removed" if removed else f"there is no {environment.demo_dir}: nothing to remove")
    return 0


def _end_with_parent() -> Callable[[], object] | None:
    """On Linux: what makes a child get SIGTERM when the runner dies without a word. None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return functools.partial(prctl, PR_SET_PDEATHSIG, int(signal.SIGTERM))


def catches_hangup(pid: int) -> bool | None:
    """Whether a process has a handler for SIGHUP; None where that can't be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(int(found[1], 16) >> (signal.SIGHUP - 1) & 1) if found else None


async def _status(port: int, path: str) -> int | None:
    """How a server on this machine answers a GET; None if it does not."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request.encode())
                answer = await reader.readline()
            finally:
                writer.close()
        return int(answer.split()[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


def _other(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
