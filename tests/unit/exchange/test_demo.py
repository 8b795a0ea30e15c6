"""Tests of `exchange.demo`: what of the runner needs no demo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exchange.demo import LINES, Output, catches_hangup, check_ports, lock_folder, main
from exchange.environment import BadVariable, Environment
from tests.servers.ports import free_ports


class OutputTests(SynchronousTestCase):
    """Lines on their way to a terminal."""

    def setUp(self) -> None:
        self.read, self.write = os.pipe()
        self.closed = threading.Event()
        self.output = Output(self.write, self.closed.set)

    def test_in_order(self) -> None:
        """Lines arrive whole and in order."""
        self.output.line("one")
        self.output.line("zwölf")
        self.output.close(5)
        os.close(self.write)
        with open(self.read, encoding="utf-8") as stream:
            self.assertEqual(stream.read(), "one\nzwölf\n")

    def test_nobody_reads(self) -> None:
        """A reader that has stopped does not stop the writer; what did not fit is counted when he goes on."""
        for number in range(3 * LINES):
            self.output.line(f"{number:030}")
        dropped: list[str] = []
        lines = 0
        with open(self.read, encoding="utf-8") as stream:
            for line in stream:
                lines += 1
                if not dropped:
                    self.output.line("more")
                if line.startswith("demo| "):
                    dropped.append(line)
                if line == "more\n" and dropped:
                    break
        self.output.close(5)
        os.close(self.write)
        self.assertRegex(dropped[0], r"^demo\| \d+ lines dropped\n")
        self.assertTrue(lines < 3 * LINES)

    def test_reader_gone(self) -> None:
        """A reader that has gone is told."""
        os.close(self.read)
        self.output.line("lost")
        self.assertTrue(self.closed.wait(5))
        os.close(self.write)


class PortTests(SynchronousTestCase):
    """Ports, before anything is started."""

    def test_free(self) -> None:
        """Free ports pass, and are free afterwards."""
        site, push, amqp = free_ports(3)
        environment = Environment(site_port=site, push_port=push, amqp_port=amqp)
        check_ports(environment)
        check_ports(environment)

    def test_taken(self) -> None:
        """A taken one is named, with its variable; also if the other program listens on all addresses."""
        for host in ("127.0.0.1", "0.0.0.0"):
            with socket.create_server((host, 0)) as taken:
                port = taken.getsockname()[1]
                site, push = free_ports(2)
                with self.assertRaises(BadVariable) as bad:
                    check_ports(Environment(site_port=site, push_port=push, amqp_port=port))
            self.assertRegex(str(bad.exception), rf"port {port} is taken .*AMQP_PORT=\d+")

    def test_other_broker(self) -> None:
        """With a RabbitMQ elsewhere the embedded broker's port may be taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            site, push = free_ports(2)
            port = taken.getsockname()[1]
            check_ports(Environment(site_port=site, push_port=push, amqp_port=port, broker="amqp://x/"))


class FolderTests(SynchronousTestCase):
    """One demo a folder."""

    def test_lock(self) -> None:
        """Who comes second is refused, until the first has let go."""
        environment = Environment(demo_dir=Path(self.mktemp()).absolute())
        environment.prepare()
        folder = lock_folder(environment)
        with self.assertRaises(BadVariable):
            lock_folder(environment)
        os.close(folder)
        os.close(lock_folder(environment))

    def test_unknown_argument(self) -> None:
        """An argument that is none is refused."""
        said = StringIO()
        with redirect_stderr(said):
            self.assertEqual(main(["--rset"]), 2)
        self.assertIn("takes no argument but --reset", said.getvalue())


class HangUpTests(SynchronousTestCase):
    """Seeing from outside whether a process catches SIGHUP."""

    def test_catches(self) -> None:
        """It is seen that a process has a handler, and that it has one no more."""
        code = """
import signal
def step(): print(flush=True); input()
step(); signal.signal(signal.SIGHUP, lambda *_: None)
step(); signal.signal(signal.SIGHUP, signal.SIG_DFL)
step()
"""
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            seen = []
            for _ in range(3):
                process.stdout.readline()
                seen.append(catches_hangup(process.pid))
                process.stdin.write(b"\n")
                process.stdin.flush()
        self.assertEqual(seen, [False, True, False])
        self.assertEqual(catches_hangup(process.pid), None)
