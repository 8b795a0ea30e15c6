"""What systemd gives a service and hears from it, without a systemd that runs: `systemd-socket-activate` passes the
socket, and a socket of the test's own is where the service tells how it is. Runs as any user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.clients.websocket import WebSocket, connect
from tests.servers.child import private_folder
from tests.servers.daemon import clean_environment, django_site, twistd
from tests.servers.ports import free_ports
from tests.servers.program import Program

WATCHDOG_SECONDS = 1.5


class Told:
    """Where systemd would listen."""

    def __init__(self) -> None:
        self.path = private_folder("notify") / "socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(60)

    def until(self, text: str) -> list[str]:
        """All messages, up to one that begins so."""
        found: list[str] = []
        while not found or not found[-1].startswith(text):
            found.append(self._socket.recv(4096).decode())
        return found

    def close(self) -> None:
        """Ends it."""
        self._socket.close()


class WithoutRootCase(SynchronousTestCase):
    """A daemon that was started by its socket."""

    def setUp(self) -> None:
        if shutil.which("systemd-socket-activate") is None:
            raise SkipTest("systemd is not installed")
        self.port, self.amqp = free_ports(2)
        self.told = Told()
        self.addCleanup(self.told.close)

    def start(
        self, *sockets: str, settings: str = "shop.settings", listen: str = "systemd:domain=INET:name=livepush"
    ) -> Program:
        """The daemon, as the unit starts it; it begins with the first client."""
        site = django_site()
        words = [f"--listen={where}" for where in sockets or [f"127.0.0.1:{self.port}"]]
        words.append("--fdname=" + ":".join(["livepush"] * len(words)))
        environ = {
            "NOTIFY_SOCKET": str(self.told.path),
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
            "LIVEPUSH_BROKER_URL": f"embedded:{self.amqp}",
        }
        words += [f"--setenv={name}={value}" for name, value in environ.items()]
        service = twistd("-n", "--pidfile=", "livepush", "--settings", settings, "--listen", listen)
        program = Program(
            ["systemd-socket-activate", *words, sys.executable, *service], site.folder, clean_environment()
        )
        self.addCleanup(program.kill)
        program.wait_for("Listening on")
        return program

    def connect(self) -> WebSocket:
        """A tab, let in or not."""
        headers = [("Origin", f"http://127.0.0.1:{self.port}"), ("Cookie", django_site().cookie)]
        client = connect(self.port, headers=headers, subprotocols=["livepush.v1"], deadline=60.0)
        self.addCleanup(client.close)
        return client

    def browser(self) -> WebSocket:
        """A tab that hears."""
        client = self.connect()
        client.send_json({"op": "hello", "n": 0})
        self.assertEqual(client.receive_json()["op"], "welcome")
        return client


class NotifyTests(WithoutRootCase):
    """What it tells."""

    def test_from_ready_to_stopping(self) -> None:
        """Ready when it serves, then alive again and again; what new settings change, and that a broken file changes
        nothing; and that it ends, with its clients."""
        (django_site().folder / "shop" / "tuned.py").write_text("from shop.settings import *\n")
        program = self.start(settings="shop.tuned")
        client = self.browser()
        self.assertIn("STATUS=serving", self.told.until("READY=1")[-1])
        for _ in range(3):
            self.told.until("WATCHDOG=1")

        tuned = django_site().folder / "shop" / "tuned.py"
        tuned.write_text("from shop.settings import *\nLIVEPUSH_MAX_CONNECTIONS = 1\nLIVEPUSH_PORT = 1234\n")
        self.hang_up(program)
        self.assertRegex(self.told.until("RELOADING=1")[-1], r"\nMONOTONIC_USEC=[0-9]+$")
        ready = self.told.until("READY=1")[-1]
        said = "LIVEPUSH_MAX_CONNECTIONS changed; LIVEPUSH_PORT will count from the next start"
        self.assertIn(said, ready)
        program.wait_for(said)
        self.assertEqual(self.connect().status, 503)

        tuned.write_text("from shop.settings import *\nLIVEPUSH_MAX_CONNECTIONS = 'many'\n")
        self.hang_up(program)
        self.told.until("READY=1")
        line = program.wait_for("stay as they were")
        self.assertIn("LIVEPUSH_MAX_CONNECTIONS 'many': must be an int", line)
        self.assertEqual(self.connect().status, 503)

        program.terminate()
        self.told.until("STOPPING=1")
        self.assertEqual(client.receive_json()["op"], "goaway")

    def hang_up(self, program: Program) -> None:
        """SIGHUP."""
        os.kill(program.pid, signal.SIGHUP)


class SocketTests(WithoutRootCase):
    """What it is given."""

    def refused(self, *sockets: str, listen: str) -> str:
        """The line that the start ends with."""
        program = self.start(*sockets, listen=listen)
        with socket.create_connection(("127.0.0.1", self.port), 60):
            self.assertEqual(program.wait(), 1, program.output)
        return program.wait_for("twistd livepush")

    def test_wrong_name(self) -> None:
        """The names that were passed are told."""
        line = self.refused(listen="systemd:domain=INET:name=other")
        self.assertIn("no socket of this name (FileDescriptorName=), but livepush", line)

    def test_two_sockets(self) -> None:
        """One of two of the same name would be answered by nobody."""
        (other,) = free_ports(1)
        line = self.refused(f"127.0.0.1:{self.port}", f"127.0.0.1:{other}", listen="systemd:domain=INET:name=livepush")
        self.assertIn("1 of them under the name of another", line)

    def test_a_socket_that_nobody_wants(self) -> None:
        """A socket that is passed, and not in `--listen`, is told."""
        (own,) = free_ports(1)
        line = self.refused(listen=f"tcp:{own}:interface=127.0.0.1")
        self.assertIn("a socket that no --listen names, livepush", line)
