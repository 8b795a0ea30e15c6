"""The tests' own servers: what they start on a developer's machine goes with them, and can be broken on purpose."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.servers.child import ServerFailed
from tests.servers.redis import DATABASES, PrivateRedis

_DIES = """
import os, signal
from tests.servers.redis import PrivateRedis
server = PrivateRedis()
server.start()
server.freeze()
print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class GuardTests(SynchronousTestCase):
    def test_killed_tests_leave_nothing(self) -> None:
        """Tests that are killed leave no server behind, not even one that is frozen, and no folder."""
        root = Path(__file__).parents[2]
        # The guard holds the pipe, too: it is empty when the guard has done its work.
        run = subprocess.run([sys.executable, "-c", _DIES], cwd=root, stdout=subprocess.PIPE, timeout=60, check=False)
        pid, folder = run.stdout.decode().split()
        self.assertTrue(ended(int(pid)), "the server lives on")
        self.assertFalse(Path(folder).exists())


class RedisTests(SynchronousTestCase):
    """What tests of presence rely on."""

    def server(self, *conf: str, password: str | None = None, tls: bool = False) -> PrivateRedis:
        server = PrivateRedis(conf=conf, password=password, tls=tls)
        self.addCleanup(server.stop)
        server.start()
        return server

    def test_fresh_databases(self) -> None:
        """Every test finds its database empty, also when all of them have been used."""
        server = self.server()
        for _ in range(2):
            server._databases = DATABASES - 1
            self.assertTrue(server.fresh_url().endswith("/1"))
            self.assertEqual(server.cli("GET", "key", database=1), "")
            server.cli("SET", "key", "value", database=1)

    def test_restart(self) -> None:
        """What was stored is gone after a crash, and kept where a test asks for that."""
        for conf, kept in (((), ""), (("appendonly yes", "appendfsync always"), "value")):
            server = self.server(*conf)
            server.cli("SET", "key", "value")
            server.restart(hard=True)
            self.assertEqual(server.cli("GET", "key"), kept)

    def test_password(self) -> None:
        """It asks for its password, which may hold anything, unless a test wants none."""
        for password, answer in (("a:b@/", b"-NOAUTH"), ("", b"+PONG")):
            server = self.server(password=password)
            self.assertEqual(server.cli("PING"), "PONG")
            self.assertEqual(urlsplit(server.url()).password or "", quote(password, safe=""))
            with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
                connection.sendall(b"PING\r\n")
                self.assertTrue(connection.recv(100).startswith(answer))

    def test_tls(self) -> None:
        """With TLS its certificate is that of its address; `start` looks at both."""
        server = self.server(tls=True)
        self.assertEqual(server.cli("PING"), "PONG")
        self.assertTrue(server.url().startswith("rediss://"))

    def test_frozen(self) -> None:
        """A frozen server takes connections and answers none of them."""
        server = self.server()
        server.freeze()
        self.addCleanup(server.thaw)
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(b"PING\r\n")
            readable, _, _ = select.select([connection], [], [], 0.2)
            self.assertEqual(readable, [])
            server.thaw()
            self.assertTrue(connection.recv(100).startswith(b"-NOAUTH"))

    def test_errors(self) -> None:
        """A command that Redis refuses fails the test that gave it, with what Redis says."""
        self.assertIn("unknown command", str(self.assertRaises(ServerFailed, self.server().cli, "PRESENCE")))


def ended(pid: int) -> bool:
    """Whether a process that is no child of ours has ended, also if nobody has asked for its status."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([handle], [], [], 0)
        return bool(readable)
    finally:
        os.close(handle)
