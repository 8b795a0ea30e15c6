"""`manage.py livepush relay` whole: processes, a private RabbitMQ, and what ends them."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pika
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Message, decode
from livepush.broker.topology import EXCHANGE, LOG, declare
from livepush.broker.url import BrokerURL
from livepush.django.wakeup import Bell, Wakeup
from tests.servers.ports import free_ports
from tests.servers.postgresql import shared_postgresql
from tests.servers.rabbitmq import shared_rabbitmq
from tests.servers.relay import RelayProcess, RelaySite

DEFINITIONS = Path(__file__).parents[3] / "broker" / "rabbitmq" / "definitions.json"
WAIT = 60.0
STARTED = "relaying the outbox"


class RelayCase(SynchronousTestCase):
    """A virtual host of its own, with exchange and log."""

    prepared = True

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.vhost = self.node.fresh_vhost()
        self.addCleanup(self.vhost.delete)
        if self.prepared:
            self.declare()

    def declare(self) -> None:
        with self.connect() as connection:
            declare(connection.channel())

    def connect(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(BrokerURL.parse(self.vhost.url()).parameters(heartbeat=60))

    def site(self, database: dict[str, Any] | None = None, *, migrate: bool = True) -> RelaySite:
        site = RelaySite(self.vhost.url(), database, migrate=migrate)
        self.addCleanup(site.delete)
        return site

    def postgresql(self) -> RelaySite:
        server = shared_postgresql()
        name = server.fresh_database()
        self.addCleanup(server.drop, name)
        return self.site(server.settings(name))

    def relay(self, site: RelaySite, *words: str, started: bool = True) -> RelayProcess:
        relay = RelayProcess(site, *words)
        self.addCleanup(relay.kill)
        if started:
            relay.wait_for(STARTED)
        return relay

    def publish(self, site: RelaySite, words: Iterable[object], then: str = "") -> None:
        """Durable events of these types, committed by another process, each in a transaction."""
        types = [str(word) for word in words]
        code = (
            f"for word in {types!r}:\n    with transaction.atomic(): publish('news', word, {{}}, durable=True)\n{then}"
        )
        done = site.run(code)
        self.assertEqual(done.returncode, 0, done.stderr)

    def read(self, until: int) -> list[Message]:
        """What the outbox published: everything in the log up to and including this number."""
        found: list[Message] = []
        with self.connect() as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1000)
            deadline = time.monotonic() + WAIT
            arguments = {"x-stream-offset": "first"}
            for method, properties, body in channel.consume(LOG, inactivity_timeout=0.5, arguments=arguments):
                if method is not None and properties is not None and body is not None:
                    channel.basic_ack(method.delivery_tag or 0)
                    raw = properties
                    message = decode(raw.type, raw.app_id, raw.message_id, raw.headers, body)
                    if message.stamp is not None and message.stamp.publisher.startswith("outbox-"):
                        found.append(message)
                        if message.stamp.number >= until:
                            return found
                if time.monotonic() > deadline:
                    self.fail(f"{until} is not in the log; there are {[message.stamp for message in found]}")
        raise AssertionError("the consumer was cancelled")

    def assert_published(self, words: Iterable[object]) -> list[Message]:
        """The log holds these, in order, each under one number, whatever copies there are; the copies."""
        types = [str(word) for word in words]
        messages = self.read(len(types))
        seen: dict[int, str] = {}
        for message in messages:
            assert message.stamp is not None
            seen.setdefault(message.stamp.number, getattr(message.content, "type", "void"))
            self.assertTrue(set(range(1, message.stamp.low)) <= set(seen))
        self.assertEqual(seen, dict(enumerate(types, 1)))
        return messages


class LifeTests(RelayCase):
    def test_published(self) -> None:
        """What others committed is in the log, in order; on SIGTERM it ends at once and gives the lease back."""
        site = self.site()
        relay = self.relay(site)
        self.publish(site, range(200))
        self.assertEqual(len(self.assert_published(range(200))), 200)
        self.assertEqual(relay.end(), 0)
        relay.wait_for("has ended")
        started = time.monotonic()
        self.relay(site)
        self.assertLess(time.monotonic() - started, 5.0)

    def test_worker_killed_at_the_commit(self) -> None:
        """A worker that dies by SIGKILL between its commit and the wake-up has published all the same."""
        site = self.site()
        self.relay(site)
        done = site.run(
            "with transaction.atomic():\n"
            "    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
            "    publish('news', 'x', {}, durable=True)"
        )
        self.assertEqual(done.returncode, -signal.SIGKILL)
        self.assert_published(["x"])

    def test_worker_that_never_flushes(self) -> None:
        """So has one that ends by `os._exit`."""
        site = self.site()
        self.relay(site)
        self.publish(site, range(20), "os._exit(0)")
        self.assert_published(range(20))

    def test_crash(self) -> None:
        """A relay that is killed has a successor, which goes on with the same publisher."""
        site = self.site()
        first = self.relay(site)
        self.publish(site, range(10))
        self.read(10)
        first.kill()
        self.publish(site, range(10, 20))
        second = self.relay(site, started=False)
        second.wait_for("standing by")
        messages = self.assert_published(range(20))
        self.assertEqual(len({message.stamp.publisher for message in messages if message.stamp}), 1)

    def test_stopped_past_its_lease(self) -> None:
        """Two by mistake: when the one that is frozen wakes up, it finds its lease taken and stands by."""
        site = self.site()
        first = self.relay(site)
        second = self.relay(site, started=False)
        second.wait_for("standing by")
        first.send(signal.SIGSTOP)
        self.publish(site, range(50))
        second.wait_for(STARTED)
        first.send(signal.SIGCONT)
        self.publish(site, range(50, 100))
        first.wait_for("has taken the lease")
        self.assert_published(range(100))

    def test_new_identity(self) -> None:
        """It is refused while a relay lives, and given when none does."""
        site = self.site()
        relay = self.relay(site)
        self.publish(site, range(3))
        before = {message.stamp.publisher for message in self.assert_published(range(3)) if message.stamp}
        done = site.manage("livepush", "relay", "--new-identity")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1))
        self.assertIn("relays the outbox", done.stderr)
        relay.end()
        done = site.manage("livepush", "relay", "--new-identity")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(before.pop(), done.stdout)
        self.assertRegex(done.stdout, r"publishes as outbox-\w+ from now on")

    def test_no_tables(self) -> None:
        """Without `migrate` it ends with one line that says so; so does a wrong alias."""
        site = self.site(migrate=False)
        for words, said in (((), "manage.py migrate livepush"), (("--database", "x"), "DATABASES has default")):
            done = site.manage("livepush", "relay", *words)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class TroubleTests(RelayCase):
    def test_broker_killed(self) -> None:
        """Rows that are committed while the broker is dead are published when it is back; one line tells it."""
        site = self.site()
        relay = self.relay(site)
        self.publish(site, range(20))
        self.read(20)
        self.node.kill()
        relay.wait_for("no broker at")
        self.publish(site, range(20, 40), "os._exit(0)")
        self.node.start()
        relay.wait_for("connected to")
        self.assert_published(range(40))
        self.assertEqual(sum("no broker" in line for line in relay.lines), 1)
        self.assertEqual(relay.end(), 0)
        self.assertFalse([line for line in relay.lines if "Traceback" in line])

    def test_database_killed(self) -> None:
        """A database that crashes under the relay and comes back loses nothing; the relay says so in two lines."""
        site = self.postgresql()
        relay = self.relay(site)
        self.publish(site, range(20))
        server = shared_postgresql()
        server.kill()
        relay.wait_for("the database 'default' fails")
        server.start()
        self.publish(site, range(20, 40))
        self.assert_published(range(40))
        relay.wait_for("the database 'default' is back")
        self.assertEqual(sum("WARNING" in line for line in relay.lines), 1)
        self.assertEqual(relay.end(), 0)


class RightsTests(RelayCase):
    def test_djangos_user(self) -> None:
        """A relay needs no more rights than `definitions.json` gives to Django's user of the broker."""
        rights = json.loads(DEFINITIONS.read_text())
        user, password = f"django-{secrets.token_hex(4)}", secrets.token_hex(8)
        self.node.ctl("add_user", user, password)
        self.addCleanup(self.node.ctl, "delete_user", user)
        words = ["-p", self.vhost.name, user]
        for right in rights["permissions"]:
            if right["user"] == "livepush-django":
                self.node.ctl("set_permissions", *words, *(right[name] for name in ("configure", "write", "read")))
        for right in rights["topic_permissions"]:
            if right["user"] == "livepush-django":
                self.node.ctl("set_topic_permissions", *words, right["exchange"], right["write"], right["read"])
        site = RelaySite(self.vhost.url(user=user, password=password))
        self.addCleanup(site.delete)
        relay = self.relay(site)
        self.publish(site, range(3))
        self.assert_published(range(3))
        self.assertEqual(relay.end(), 0)
        self.assertEqual([line for line in relay.lines if "WARNING" in line or "ERROR" in line], [])


class UnpreparedTests(RelayCase):
    prepared = False

    def test_no_topology(self) -> None:
        """Without exchange and log the rows wait, with a line that names the remedy, and go out when it was done."""
        site = self.site()
        relay = self.relay(site)
        self.publish(site, range(5), "os._exit(0)")
        relay.wait_for("livepush topology.*needs the rights of broker/rabbitmq/definitions.json")
        self.declare()
        self.assert_published(range(5))

    def test_no_broker(self) -> None:
        """Without a broker it says so in one line, also where the site's own logging has a handler for everybody."""
        (port,) = free_ports(1)
        logging = 'LOGGING = {"version": 1, "handlers": {"all": {"class": "logging.StreamHandler"}}, '
        logging += '"root": {"handlers": ["all"], "level": "WARNING"}}'
        site = RelaySite(f"amqp://guest:guest@127.0.0.1:{port}/", settings=logging)
        self.addCleanup(site.delete)
        relay = self.relay(site, started=False)
        relay.wait_for("no broker at")
        self.assertEqual(relay.end(), 0)
        self.assertEqual(len(relay.lines), 1, relay.lines)


class WakeupTests(RelayCase):
    def test_refused(self) -> None:
        """Who may not make the wake-up's queue is told which rights he lacks; the relay goes on."""
        user = f"sleeper-{secrets.token_hex(4)}"
        self.node.ctl("add_user", user, "sleepy")
        self.addCleanup(self.node.ctl, "delete_user", user)
        self.node.ctl("set_permissions", "-p", self.vhost.name, user, "^$", "^livepush$", "^livepush$")
        site = RelaySite(self.vhost.url(user=user, password="sleepy"))
        self.addCleanup(site.delete)
        relay = self.relay(site)
        relay.wait_for("refuses the relay's wake-up.*needs the rights of broker/rabbitmq/definitions.json")
        self.publish(site, range(3))
        self.assert_published(range(3))

    def test_rings(self) -> None:
        """A commit's message rings the bell, once the queue is there, which rings, too; so it does after a restart."""
        bell = Bell()
        self.addCleanup(bell.close)
        wakeup = Wakeup(BrokerURL.parse(self.vhost.url()), bell)
        wakeup.start()
        self.addCleanup(wakeup.stop)
        self.assertTrue(bell.wait(WAIT))
        for key, heard in (("control.identity", False), ("control.outbox", True)):
            with self.connect() as connection:
                connection.channel().basic_publish(EXCHANGE, key, b"{}")
            self.assertEqual(bell.wait(WAIT if heard else 0.3), heard, key)
        self.node.restart(hard=True)
        self.assertTrue(bell.wait(WAIT))

    def test_bell(self) -> None:
        """A ring before the wait is heard, many are one, and nothing is heard twice."""
        bell = Bell()
        for _ in range(100_000):
            bell.ring()
        self.assertEqual([bell.wait(1), bell.wait(0)], [True, False])
        bell.close()
        bell.ring()
