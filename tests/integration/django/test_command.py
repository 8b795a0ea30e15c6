"""manage.py livepush, whole: a daemon, a broker in it, and one event by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pika import BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from twisted.trial.unittest import SynchronousTestCase

from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

PARTS = (
    "exchange 'livepush'",
    "exchange 'livepush.daemon'",
    "log 'livepush.log'",
)
BINDINGS = (
    "bound: log 'livepush.log' to event.# of exchange 'livepush'",
    "bound: log 'livepush.log' to control.# of exchange 'livepush'",
    "bound: log 'livepush.log' to marker.# of exchange 'livepush.daemon'",
)
ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "django", "livepush", *words]


def environment(broker: str) -> dict[str, str]:
    ours = {"DJANGO_SETTINGS_MODULE": "tests.logged_settings", "LIVEPUSH_BROKER_URL": broker, "PYTHONPATH": str(ROOT)}
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
        self.assertEqual(topology.stdout.splitlines(), [f"there: {part}" for part in PARTS] + list(BINDINGS))

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

    def test_workers(self) -> None:
        """Several processes, as `twistd livepush --workers`: they can not share the embedded broker."""
        done = run("embedded:", "run", "--workers", "2", "--instance", "a", "--log-format", "json")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--workers 2: can't share the embedded broker", done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)


class RabbitMQTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.host = shared_rabbitmq().fresh_vhost()
        self.addCleanup(self.host.delete)

    def declare(self, *acts: Callable[[BlockingChannel], object]) -> None:
        """What somebody else has done in the virtual host."""
        with closing(BlockingConnection(URLParameters(self.host.url()))) as connection:
            for act in acts:
                act(connection.channel())

    def refused(self, *words: str, broker: str | None = None) -> str:
        """What the command says on one line when it can't."""
        done = run(broker or self.host.url(), *words)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        return done.stderr

    def test_topology(self) -> None:
        """In a fresh virtual host it makes everything; later it makes what was taken away, and finds the rest there."""
        done = run(self.host.url(), "topology")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines(), [f"made: {part}" for part in PARTS] + list(BINDINGS))
        self.declare(lambda it: it.exchange_delete("livepush.daemon"))
        for made_again in (["exchange 'livepush.daemon'"], []):
            done = run(self.host.url(), "topology")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            right = [f"{'made' if part in made_again else 'there'}: {part}" for part in PARTS]
            self.assertEqual(done.stdout.splitlines(), right + list(BINDINGS))

    def test_topology_of_a_user_who_may_not(self) -> None:
        """What is missing is told with who may not make it; what is there is told as not checked."""
        limited = self.host.url(user="limited", password="limited")
        node, name = self.host.node, self.host.name
        node.ctl("add_user", "limited", "limited")
        self.addCleanup(node.ctl, "delete_user", "limited")
        node.ctl("set_permissions", "-p", name, "limited", "^$", "^livepush$", "^$")
        said = self.refused("topology", broker=limited)
        self.assertIn("there is no exchange 'livepush', and user 'limited' may not make it", said)
        run(self.host.url(), "topology")
        done = run(limited, "topology")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        bindings = [binding.removeprefix("bound: ") for binding in BINDINGS]
        *parts, note = done.stdout.splitlines()
        self.assertEqual(parts, [f"not checked: {part}" for part in (*PARTS, *bindings)])
        self.assertIn("'limited'", note)

    def test_topology_with_another_log(self) -> None:
        """A log that keeps something else is told with what it keeps, and with what to do."""
        arguments = {"x-queue-type": "stream", "x-max-age": "60s", "x-stream-max-segment-size-bytes": 5_000_000}
        self.declare(lambda it: it.queue_declare("livepush.log", durable=True, arguments=arguments))
        said = self.refused("topology")
        for words in ("x-max-age", "LIVEPUSH_LOG_SECONDS", f"-p {self.host.name} delete_queue livepush.log"):
            self.assertIn(words, said)
        self.host.node.ctl("-p", self.host.name, "delete_queue", "livepush.log")
        self.declare(lambda it: it.queue_declare("livepush.log"))
        self.assertIn("delete_queue livepush.log", self.refused("topology"))
        self.host.node.ctl("-p", self.host.name, "delete_queue", "livepush.log")
        self.assertEqual(run(self.host.url(), "topology").returncode, 0)

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
        self.declare(lambda it: it.exchange_declare("livepush", exchange_type="fanout"))
        self.assertIn("there is another exchange 'livepush'", self.refused("topology"))

    def test_nobody_listens(self) -> None:
        """Without a daemon the log keeps the event; without a log as well it is told as not published."""
        self.assertEqual(run(self.host.url(), "topology").returncode, 0)
        done = run(self.host.url(), "publish", "user.7", "note", "{}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.declare(lambda it: it.queue_unbind("livepush.log", "livepush", "event.#"))
        self.assertIn("not published", self.refused("publish", "user.7", "note", "{}"))

    def test_no_log(self) -> None:
        """Without a log the event is told as not published, with why, and with what makes the log."""
        self.declare(lambda it: it.exchange_declare("livepush", exchange_type="topic", durable=True))
        said = self.refused("publish", "user.7", "note", "{}")
        self.assertIn("can't publish to log 'livepush.log'", said)
        self.assertIn("livepush topology", said)
