"""The demo runner for real: how it begins, and above all how it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exchange.running import PORTS, RunningDemo
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 20.0
MAKE = (
    "make",
    "--no-print-directory",
    f"--directory={ROOT}",
    f"--old-file={sys.prefix}/.demo",
    f"VENV={sys.prefix}",
    "demo",
)


def descendants(pid: int) -> dict[int, str]:
    """The processes that this one has started, and those they have, with their command lines."""
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            found.update(descendants(child))
    return found


def await_end(pids: list[int], deadline: float) -> list[int]:
    """Those of these processes that are still there at that moment of the monotonic clock."""
    left = []
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            end = select.poll()
            end.register(handle, select.POLLIN)
            if not end.poll(max(0.0, deadline - time.monotonic()) * 1000):
                left.append(pid)
        finally:
            os.close(handle)
    return left


class DemoCase(SynchronousTestCase):
    """A folder and a demo in it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def start(self, command: tuple[str, ...] | None = None, **variables: str) -> RunningDemo:
        """A demo, gone at the end of the test."""
        demo = RunningDemo(self.folder, variables, command)
        self.addCleanup(demo.__exit__, None, None, None)
        return demo

    def assert_ends(self, demo: RunningDemo, act: Callable[[], object], status: int | None = 0) -> None:
        """After `act` the runner and all that it has started are gone in time."""
        pids = [demo.process.pid, *descendants(demo.process.pid)]
        self.assertTrue(len(pids) >= 6, descendants(demo.process.pid))
        deadline = time.monotonic() + END_SECONDS
        act()
        ended = demo.wait(END_SECONDS)
        self.assertEqual(await_end(pids, deadline), [], demo.output)
        if status is not None:
            self.assertEqual(ended, status, demo.output)


class LifeTests(DemoCase):
    """A demo that becomes ready, and its ends."""

    def test_ready(self) -> None:
        """It says where it is, who can log in, and which process says what; its folder is this user's only."""
        demo = self.start().wait_ready()
        demo.wait_for("the password of each is: livepush", 5)
        self.assertIn(f"livepush demo ready: {demo.url}/", demo.lines)
        for prefix in ("site| ", "push| ", "locks| "):
            demo.wait_for(prefix, 20)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()}
        self.assertEqual(set(modes.values()), {0o600}, modes)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        # Ctrl-C in a terminal: to the whole group at once.
        self.assert_ends(demo, lambda: os.killpg(demo.process.pid, signal.SIGINT))
        # And again, in the folder as it was left.
        again = self.start().wait_ready()
        self.assert_ends(again, lambda: again.process.send_signal(signal.SIGHUP))

    def test_while_starting(self) -> None:
        """It can be ended before it is ready."""
        demo = self.start()
        demo.wait_for("Booting worker", 30)
        demo.process.send_signal(signal.SIGTERM)
        self.assertEqual(demo.wait(END_SECONDS), 0, demo.output)

    def test_child_dies(self) -> None:
        """If a child dies, it says which and how, ends the others, and fails."""
        for name, part in (("push", "twistd"), ("site", "gunicorn")):
            demo = self.start().wait_ready()
            children = descendants(demo.process.pid)
            pid = next(pid for pid, line in sorted(children.items()) if part in line)
            self.assert_ends(demo, partial(os.kill, pid, signal.SIGKILL), status=1)
            demo.wait_for(f"demo| {name} was killed by SIGKILL: ending the others", 1)

    def test_child_stuck(self) -> None:
        """A child that does not answer SIGTERM is killed, and all is over in time all the same."""
        demo = self.start().wait_ready()
        for pid, line in descendants(demo.process.pid).items():
            if "twistd" in line or "free_locks" in line:
                os.kill(pid, signal.SIGSTOP)
        self.assert_ends(demo, lambda: demo.process.send_signal(signal.SIGTERM))
        demo.wait_for("push did not end by itself: killed", 1)

    def test_runner_killed(self) -> None:
        """If the runner itself is killed, its children end by themselves."""
        demo = self.start().wait_ready()
        self.assert_ends(demo, demo.process.kill, status=-signal.SIGKILL)

    def test_reader_gone(self) -> None:
        """If nobody can read its output any more, it ends."""
        read, write = os.pipe()
        variables = {"DEMO_DIR": str(self.folder), **dict(zip(PORTS, map(str, free_ports(3)), strict=True))}
        command = [sys.executable, "-m", "exchange.demo"]
        runner = subprocess.Popen(command, env={**os.environ, **variables}, stdout=write, stderr=write)
        self.addCleanup(runner.wait)
        self.addCleanup(runner.kill)
        os.close(write)
        self.assertTrue(os.read(read, 1))
        os.close(read)
        self.assertEqual(runner.wait(30), 0)


class MakeTests(DemoCase):
    """`make demo`, ended as people and programs end make."""

    def assert_make_ends(self, act: Callable[[int], object]) -> None:
        """All are gone soon after `act`, which gets make's pid."""
        demo = self.start(MAKE).wait_ready()
        self.assert_ends(demo, lambda: act(demo.process.pid), status=None)

    def test_terminal(self) -> None:
        """Ctrl-C."""
        self.assert_make_ends(lambda pid: os.killpg(pid, signal.SIGINT))

    def test_terminate(self) -> None:
        """SIGTERM to make."""
        self.assert_make_ends(lambda pid: os.kill(pid, signal.SIGTERM))

    def test_hang_up(self) -> None:
        """SIGHUP to make, which does not pass it on."""
        self.assert_make_ends(lambda pid: os.kill(pid, signal.SIGHUP))

    def test_kill(self) -> None:
        """make is killed."""
        self.assert_make_ends(lambda pid: os.kill(pid, signal.SIGKILL))


class RefusalTests(DemoCase):
    """What can't be run is refused in one line."""

    def refused(self, **variables: str) -> str:
        """The one line that it says before it fails."""
        demo = self.start(None, **variables)
        self.assertEqual(demo.wait(20), 2, demo.output)
        self.assertEqual(len(demo.lines), 1, demo.output)
        return demo.lines[0]

    def test_port_taken(self) -> None:
        """A taken port is named, with the variable that chooses another; nothing is left behind."""
        for variable in ("SITE_PORT", "PUSH_PORT", "AMQP_PORT"):
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = str(taken.getsockname()[1])
                line = self.refused(**{variable: port})
            self.assertIn(f"port {port} is taken", line)
            self.assertIn(f"{variable}=", line)
        self.assertFalse(self.folder.exists())

    def test_bad_variable(self) -> None:
        """A variable that says something impossible is named."""
        self.assertIn("SITE_PORT is 'web'", self.refused(SITE_PORT="web"))
        self.assertIn("BROKER must be", self.refused(BROKER="rabbit"))
        self.assertIn("DEMO_DIR", self.refused(DEMO_DIR="/proc/nowhere"))

    def test_folder_in_use(self) -> None:
        """Two demos don't share a folder, and the folder of one that runs is not removed."""
        first = self.start()
        first.wait_for("Booting worker", 30)
        self.assertIn("is in use by a demo that runs", self.refused())
        reset = subprocess.run(
            [sys.executable, "-m", "exchange.demo", "--reset"],
            env={**os.environ, "DEMO_DIR": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((reset.returncode, reset.stdout), (2, ""))
        self.assertIn("is in use by a demo that runs", reset.stderr)
        self.assertTrue(self.folder.exists())


class CheckTests(DemoCase):
    """`make demo-check`."""

    def check(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """The check's end."""
        return subprocess.run(
            [sys.executable, "-m", "exchange.demo_check"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_embedded(self) -> None:
        """It finds that everybody is told what he may know, within 60 s."""
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("boris receives: done {'order': 1, 'user': 1, 'version': 3, 'action': 'hide'}", done.stdout)
        self.assertIn("mod receives: done {'order': 1, 'user': 1, 'version': 3, 'action': 'highlight'}", done.stdout)
        self.assertNotIn("BAD", done.stdout)

    def test_rabbitmq(self) -> None:
        """The same through a RabbitMQ."""
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        done = self.check(BROKER=vhost.url())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
