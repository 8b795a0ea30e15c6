"""manage.py livepush, whole: a daemon, a broker in it, and one event by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from pika import BlockingConnection, URLParameters
from twisted.trial.unittest import SynchronousTestCase

from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "django", "livepush", *words]


def environment(broker: str) -> dict[str, str]:
    ours = {"DJANGO_SETTINGS_MODULE": "tests.settings", "LIVEPUSH_BROKER_URL": broker, "PYTHONPATH": str(ROOT)}
    return {**os.environ, **ours}


def run(broker: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment(broker), capture_output=True, check=False, text=True, timeout=SECONDS, cwd=ROOT
    )


class EmbeddedTests(SynchronousTestCase):
    def start(self, *words: str, broker: str) -> subprocess.Popen[str]:
        """A daemon that is ready; killed at the end, and after a minute whatever happens."""
        daemon = subprocess.Popen(
            command("run", *words),
            env=environment(broker),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        watchdog = threading.Timer(SECONDS, daemon.kill)
        watchdog.start()
        assert daemon.stdout is not None
        self.addCleanup(daemon.stdout.close)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        self.addCleanup(watchdog.cancel)
        said = []
        for line in daemon.stdout:
            said.append(line)
            if "Feed ready" in line:
                return daemon
        raise AssertionError("".join(said))

    def test_run_and_publish(self) -> None:
        """The daemon runs from manage.py with the embedded broker, takes an event from another process, and ends at
        once when told."""
        web, amqp = free_ports(2)
        broker = f"embedded:{amqp}"
        daemon = self.start("--port", str(web), broker=broker)

        topology = run(broker, "topology")
        self.assertEqual(topology.returncode, 0, topology.stderr)
        self.assertIn(f"embedded:{amqp}: exchange 'livepush' is there", topology.stdout)

        published = run(broker, "publish", "user.7", "note", '{"text": "hello"}')
        self.assertEqual((published.returncode, published.stderr), (0, ""))
        self.assertRegex(published.stdout, r"^published [A-Za-z0-9_-]+-1\n$")

        daemon.send_signal(signal.SIGTERM)
        self.assertIn(daemon.wait(5), (0, -signal.SIGTERM))

    def test_port_taken(self) -> None:
        """A taken port ends the start with its name."""
        web, amqp, other = free_ports(3)
        self.start("--port", str(web), broker=f"embedded:{amqp}")
        second = run(f"embedded:{other}", "run", "--port", str(web))
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(str(web), second.stdout + second.stderr)
        self.assertNotIn("Traceback", second.stdout + second.stderr)


class RabbitMQTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.host = shared_rabbitmq().fresh_vhost()
        self.addCleanup(self.host.delete)

    def test_topology(self) -> None:
        """In a fresh virtual host it makes the exchange; a second time it finds it there."""
        for _ in range(2):
            done = run(self.host.url(), "topology")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("exchange 'livepush' is there (topic, durable)", done.stdout)

    def test_topology_refused(self) -> None:
        """A wrong password and a wrong virtual host are told apart, in one line, exit status 1."""
        for url, word in ((self.host.url(password="wr0ng"), "password"), (f"{self.host.url()}x", "virtual host")):
            done = run(url, "topology")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(word, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertNotIn("wr0ng", done.stderr)

    def test_another_exchange(self) -> None:
        """An exchange of the same name and another kind is told with what to do."""
        with closing(BlockingConnection(URLParameters(self.host.url()))) as connection:
            connection.channel().exchange_declare("livepush", exchange_type="fanout")
        done = run(self.host.url(), "topology")
        self.assertEqual(done.returncode, 1)
        self.assertIn("another exchange of that name", done.stderr)

    def test_nobody_listens(self) -> None:
        """Without a daemon the event is told as not published, in one line, exit status 1."""
        self.assertEqual(run(self.host.url(), "topology").returncode, 0)
        done = run(self.host.url(), "publish", "user.7", "note", "{}")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("not published", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
