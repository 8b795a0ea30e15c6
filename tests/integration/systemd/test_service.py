"""The units at work: what an operator does to a service, and what happens to one."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

from tests.clients.websocket import WebSocket, connect
from tests.integration.systemd.case import BROKER, WATCHDOG_SECONDS, UnitsCase
from tests.servers.daemon import django_site
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import shared_rabbitmq

# Named by the issue: 2 s to serve again, WatchdogSec + 1 s to be started anew; three times as much for a busy machine.
SERVING_SECONDS = 3 * 2.0
WATCHDOG_MOST_SECONDS = WATCHDOG_SECONDS + 3 * 1.0 + SERVING_SECONDS

START_LIMIT_SECONDS = 8  # within which the interpreter has started, on a busy machine

_BLOCKING = """
import signal, time
from shop.settings import *

def block_the_reactor(number, frame):
    time.sleep(600)

signal.signal(signal.SIGUSR1, block_the_reactor)
"""


class ServiceCase(UnitsCase):
    """With a browser."""

    unit = "livepush@1.service"

    def browser(self) -> WebSocket:
        """A tab of the site's user, not greeted yet."""
        headers = [("Origin", f"http://127.0.0.1:{self.port}"), ("Cookie", django_site().cookie)]
        client = connect(self.port, headers=headers, subprotocols=["livepush.v1"], deadline=60.0)
        self.addCleanup(client.close)
        return client

    def welcomed(self) -> WebSocket:
        """A tab that hears."""
        client = self.browser()
        client.send_json({"op": "hello", "n": 0})
        self.assertEqual(client.receive_json()["op"], "welcome")
        return client

    def kill(self, number: signal.Signals, instance: int = 1) -> None:
        """A signal for a process, from inside."""
        self.systemd.run("kill", f"-{number.name.removeprefix('SIG')}", str(self.pid(instance)))

    def started_anew(self, before: int, seconds: float) -> float:
        """Waits until another process is ready; how long that took."""
        begun = time.monotonic()
        self.systemd.wait_until(self.unit, "NRestarts", "1", seconds)
        self.systemd.wait_until(self.unit, "ActiveState", "active", seconds)
        self.assertNotEqual(self.pid(), before)
        return time.monotonic() - begun


class LifeTests(ServiceCase):
    """Start, reload, stop."""

    def test_from_start_to_end(self) -> None:
        """It is active when it serves, says so, tells its clients the end, and that is a success for systemd."""
        self.start(1)
        self.assertEqual(self.systemd.show(self.unit, "StatusText"), "serving, 0 connections")
        client = self.welcomed()
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.systemd.path("/run/livepush/1/status.sock")))
            asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", asking.recv(4096).partition(b"\r\n")[0])
        pid = self.pid()
        self.drop_in("livepush@.service", "[Service]\nEnvironment=ANYTHING=1\n", "more")
        self.systemd.run("systemctl", "stop", "livepush.socket", self.unit)
        while (message := client.receive_json())["op"] != "goaway":
            self.assertEqual(message["op"], "heartbeat")
        self.assertEqual(client.receive_close().code, 4000)
        self.assertEqual(self.systemd.show(self.unit, "Result"), "success")
        self.assertFalse(Path(f"/proc/{pid}").exists() and self.pid() == pid)

    def test_what_the_process_may(self) -> None:
        """It is nobody, may nothing, and its secret is neither in its environment nor on its command line."""
        self.start(1)
        pid = str(self.pid())
        status = self.systemd.run("cat", f"/proc/{pid}/status")
        found = dict(re.findall(r"^(\w+):\s*(\S+)", status, re.MULTILINE))
        self.assertNotEqual(found["Uid"], "0")
        self.assertEqual((int(found["CapEff"], 16), found["NoNewPrivs"], found["Seccomp"]), (0, "1", "2"))
        for name in ("environ", "cmdline"):
            self.assertNotIn("amqp://", self.systemd.run("cat", f"/proc/{pid}/{name}"))
        self.assertNotIn("guest:guest", self.systemd.journal())

    def test_the_first_client_starts_it(self) -> None:
        """With only the socket there, whoever connects starts a process and is served by it."""
        self.systemd.run("systemctl", "start", "livepush.socket")
        self.assertEqual(self.systemd.show(self.unit, "ActiveState"), "inactive")
        self.welcomed()
        self.assertEqual(self.systemd.show(self.unit, "ActiveState"), "active")


class BrokerTests(ServiceCase):
    """A broker that is not there."""

    def test_a_start_without_broker(self) -> None:
        """The start goes on as long as it takes, past its time limit, says why, and leaves the socket to others; then
        the client who waited in the backlog is served. A broker that goes again is told, and is no failure."""
        proxy = Proxy(shared_rabbitmq().port)
        self.addCleanup(proxy.close)
        proxy.set("cut")
        self.set_broker(self.url.replace(f":{shared_rabbitmq().port}/", f":{proxy.port}/"))
        self.drop_in("livepush@.service", f"[Service]\nTimeoutStartSec={START_LIMIT_SECONDS}\n", "more")
        self.systemd.run("systemctl", "daemon-reload")
        self.systemd.run("systemctl", "start", "livepush.socket")
        self.systemd.run("systemctl", "start", "--no-block", self.unit)
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), 60.0) as waiting:
            waiting.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while time.monotonic() - begun < START_LIMIT_SECONDS + 1 or "broker" not in self.systemd.show(
                self.unit, "StatusText"
            ):
                self.assertEqual(self.systemd.show(self.unit, "ActiveState"), "activating")
            self.assertEqual(self.systemd.show(self.unit, "NRestarts"), "0")
            proxy.set("pass")
            self.assertIn(b" 200 ", waiting.recv(4096).partition(b"\r\n")[0])
        self.systemd.wait_until(self.unit, "ActiveState", "active")
        pid = self.pid()
        proxy.set("cut")
        self.systemd.wait_for(self.unit, "Feed not ready")
        self.assertIn("not ready: broker", self.systemd.show(self.unit, "StatusText"))
        proxy.set("pass")
        self.systemd.wait_until(self.unit, "StatusText", "serving, 0 connections")
        self.assertEqual(self.pid(), pid)


class DeathTests(ServiceCase):
    """What ends a process that nobody wanted to end."""

    def test_killed(self) -> None:
        """A process that is killed is back in 2 s; who connects meanwhile waits, and is never refused."""
        self.start(1)
        before = self.pid()
        self.kill(signal.SIGKILL)
        begun = time.monotonic()
        self.welcomed()
        self.assertLess(time.monotonic() - begun, SERVING_SECONDS)
        self.started_anew(before, SERVING_SECONDS)

    def test_a_reactor_that_is_blocked(self) -> None:
        """The watchdog ends it, the journal shows the line that blocked, and another process serves."""
        (django_site().folder / "shop" / "blocking.py").write_text(_BLOCKING)
        self.drop_in("livepush@.service", "[Service]\nEnvironment=DJANGO_SETTINGS_MODULE=shop.blocking\n", "more")
        self.replace_settings("shop.blocking")
        self.start(1)
        before = self.pid()
        self.kill(signal.SIGUSR1)
        self.assertLess(self.started_anew(before, WATCHDOG_MOST_SECONDS), WATCHDOG_MOST_SECONDS)
        journal = self.systemd.journal(self.unit)
        self.assertIn("Fatal Python error: Aborted", journal)
        self.assertIn("in block_the_reactor", journal)
        self.welcomed()

    def test_a_process_that_is_frozen(self) -> None:
        """SIGSTOP looks the same from outside, and ends the same."""
        self.start(1)
        before = self.pid()
        self.kill(signal.SIGSTOP)
        # A frozen process can't leave its stack, so systemd waits for it in vain before it kills.
        self.assertLess(self.started_anew(before, WATCHDOG_MOST_SECONDS + 6), WATCHDOG_MOST_SECONDS + 6)
        self.welcomed()

    def replace_settings(self, module: str) -> None:
        """Another settings module in the unit."""
        unit = "/etc/systemd/system/livepush@.service"
        self.systemd.run("sed", "-i", f"s/--settings shop.settings/--settings {module}/", unit)
        self.systemd.run("systemctl", "daemon-reload")


class BadUnitTests(ServiceCase):
    """What is wrong with the units is said in one line that says what to do."""

    def failed(self) -> str:
        """The journal after a start that failed."""
        self.systemd.run("systemctl", "start", "livepush.socket")
        self.systemd.run("systemctl", "start", self.unit, check=False)
        return self.systemd.journal()

    def test_no_credential(self) -> None:
        """The file that is missing is named, once; nothing is tried again and again."""
        self.systemd.run("rm", BROKER)
        self.failed()
        status = self.systemd.run("systemctl", "status", "--no-pager", self.unit, check=False)
        self.assertIn(f"AssertPathExists={BROKER} was not met", status)
        self.assertEqual(self.systemd.show(self.unit, "NRestarts"), "0")

    def test_two_sockets(self) -> None:
        """Two addresses in one socket unit have one name; the line says to make two units of it."""
        text = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{self.port}\nListenStream=/run/livepush.sock\n"
        self.drop_in("livepush.socket", text)
        self.once()
        self.assertIn("passed 2 sockets, and 1 of them under the name of another", self.failed())

    def test_no_socket(self) -> None:
        """A process without its socket says which unit and which line give it one."""
        unit = "/etc/systemd/system/livepush@.service"
        self.systemd.run("sed", "-i", "/^Sockets=/d; /^Requires=/d", unit)
        self.systemd.run("sed", "-i", "/^Service=/d", "/etc/systemd/system/livepush.socket")
        self.once()
        self.systemd.run("systemctl", "start", self.unit, check=False)
        self.assertIn("systemd has passed no socket", self.systemd.journal(self.unit))

    def once(self) -> None:
        """Failing once is enough to be seen."""
        self.drop_in("livepush@.service", "[Service]\nRestart=no\n", "more")
        self.systemd.run("systemctl", "daemon-reload")
