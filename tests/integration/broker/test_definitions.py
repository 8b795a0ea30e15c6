"""`broker/rabbitmq/`: a real node takes it, and each user may do its work and nothing beyond."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker import topology
from livepush.broker.names import CONTROL_IDENTITY_KEY, CONTROL_OUTBOX_KEY, MARKER_BEAT_KEY, marker_key
from tests.integration.broker.contract import hang_up
from tests.servers.definitions import DAEMON, DJANGO, FILE, FOLDER, PASSWORD, VHOST, load_definitions
from tests.servers.rabbitmq import PrivateRabbitMQ, shared_rabbitmq

OWN_QUEUE = topology.process_queue("host", "1", "nonce")

RELAY_QUEUE = topology.relay_queue("host", "nonce")
READABLE = ("event.#", "control.#", "#", "*.outbox", CONTROL_IDENTITY_KEY)

Try = Callable[[BlockingChannel], Any]


Source = tuple[str, str]
"""Exchange and key of a message."""


class Received:
    """What a consumer gets, from now on."""

    def __init__(self, channel: BlockingChannel, queue: str, arguments: dict[str, Any] | None = None) -> None:
        self._channel, self._found = channel, list[Source]()
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(
            queue,
            lambda _c, method, _p, _b: self._found.append((str(method.exchange), str(method.routing_key))),
            arguments=arguments,
        )

    def take(self, count: int) -> list[Source]:
        """The first `count` that have not been taken. All that has come meanwhile is taken with them."""
        for _ in range(300):
            if len(self._found) >= count:
                taken, self._found = self._found, []
                return taken
            self._channel.connection.process_data_events(0.1)
        raise AssertionError(f"only {self._found} came within 30 s")


def dead_letters(exchange: str, key: str) -> dict[str, Any]:
    return {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}


def declare_own(arguments: dict[str, Any], channel: BlockingChannel) -> None:
    channel.queue_declare("livepush.p.own", exclusive=True, arguments=arguments)


def declare_exchange(name: str, arguments: dict[str, Any], channel: BlockingChannel) -> None:
    channel.exchange_declare(name, topology.EXCHANGE_TYPE, durable=True, arguments=arguments)


def bind(queue: str, exchange: str, key: str, channel: BlockingChannel) -> None:
    channel.queue_bind(queue, exchange, key)


def say(exchange: str, key: str, channel: BlockingChannel) -> None:
    channel.basic_publish(exchange, key, b"")


def follow(channel: BlockingChannel) -> None:
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(topology.LOG, lambda *_: None)


# What neither may do with the log: it comes from an administrator, and only he changes it.
WITH_THE_LOG: tuple[Try, ...] = (
    lambda it: it.queue_delete(topology.LOG),
    lambda it: it.queue_declare(topology.LOG, durable=True, arguments=topology.log_arguments()),
    lambda it: it.queue_declare("livepush.log.other", durable=True, arguments=topology.log_arguments()),
    lambda it: it.queue_bind(topology.LOG, topology.EXCHANGE, "live.#"),
    lambda it: it.queue_bind(topology.LOG, topology.DAEMON_EXCHANGE, "#"),
    lambda it: it.queue_unbind(topology.LOG, topology.EXCHANGE, "event.#"),
)


class RightsTests(SynchronousTestCase):
    """The two users of `definitions.json`, imported into a running node."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.loaded = load_definitions(self.node)
        self.addCleanup(self.loaded.remove)

    def connect(self, user: str, password: str = PASSWORD) -> BlockingConnection:
        connection = BlockingConnection(pika.URLParameters(self.loaded.url(user, password)))
        self.addCleanup(hang_up, connection)
        return connection

    def refused(self, connection: BlockingConnection, attempt: Try, what: int | None = None) -> None:
        """The attempt, on a channel of its own, ends with 403 and the connection lives.

        Args:
            what: which of many attempts it is, for the failure's text.
        """
        channel = connection.channel()
        channel.confirm_delivery()
        with self.assertRaises(exceptions.ChannelClosedByBroker, msg=f"attempt {what}") as caught:
            attempt(channel)
        self.assertEqual(caught.exception.reply_code, 403, f"attempt {what}: {caught.exception}")
        self.assertTrue(connection.is_open)

    def test_nobody_gets_in_before_a_password_is_set(self) -> None:
        """The file holds no usable password: not an empty one, not the user's name."""
        self.node.ctl("import_definitions", str(FILE))
        for user in (DJANGO, DAEMON):
            for password in ("", user, "guest", PASSWORD):
                with self.assertRaises(exceptions.ProbableAuthenticationError):
                    self.connect(user, password)

    def process_queue(self) -> Received:
        """A daemon process with its own queue, bound and consumed."""
        daemon = self.connect(DAEMON).channel()
        daemon.queue_declare(OWN_QUEUE, exclusive=True, auto_delete=True, arguments=topology.queue_arguments())
        for binding in topology.BINDINGS:
            daemon.queue_bind(OWN_QUEUE, topology.EXCHANGE, binding)
        return Received(daemon, OWN_QUEUE)

    def logged(self, count: int) -> list[Source]:
        """What the log holds, read by a daemon process."""
        reader = Received(self.connect(DAEMON).channel(), topology.LOG, {"x-stream-offset": "first"})
        return reader.take(count)

    def publish(self, user: str, exchange: str, *keys: str, headers: Any = None) -> None:
        """With a confirm, and told when nobody is bound."""
        channel = self.connect(user).channel()
        channel.confirm_delivery()
        for key in keys:
            channel.basic_publish(exchange, key, b"x", pika.BasicProperties(headers=headers), mandatory=True)

    def test_django_publishes_and_a_process_receives(self) -> None:
        """Events and control messages reach the process and the log, live ones the process."""
        daemon = self.process_queue()
        for exchange in topology.EXCHANGES:
            self.connect(DAEMON).channel().exchange_declare(exchange, passive=True)
        django = self.connect(DJANGO).channel()
        django.exchange_declare(topology.EXCHANGE, passive=True)
        django.queue_declare(topology.LOG, passive=True)
        keys = ["event.orders.lock", CONTROL_IDENTITY_KEY, "live.orders.typing"]
        self.publish(DJANGO, topology.EXCHANGE, *keys)
        self.assertEqual(daemon.take(3), [(topology.EXCHANGE, key) for key in keys])
        self.assertEqual(self.logged(2), [(topology.EXCHANGE, key) for key in keys[:2]])

    def test_a_process_finds_its_marker_in_the_log(self) -> None:
        """What a daemon publishes comes back to it by the log and reaches no process; it may publish nothing else."""
        daemon = self.process_queue()
        keys = [MARKER_BEAT_KEY, marker_key("nonce")]
        self.publish(DAEMON, topology.DAEMON_EXCHANGE, *keys)
        self.assertEqual(self.logged(2), [(topology.DAEMON_EXCHANGE, key) for key in keys])
        channel = self.connect(DAEMON).channel()
        channel.confirm_delivery()
        with self.assertRaises(exceptions.ChannelClosedByBroker) as refused:
            channel.basic_publish(topology.DAEMON_EXCHANGE, "live.orders.typing", b"x", mandatory=True)
        self.assertEqual(refused.exception.reply_code, 403)
        self.publish(DJANGO, topology.EXCHANGE, "event.last.x")
        self.assertEqual(daemon.take(1), [(topology.EXCHANGE, "event.last.x")])

    def test_a_relay_is_woken(self) -> None:
        """With Django's user: a queue of its own, bound to the one key that wakes it."""
        relay = self.connect(DJANGO).channel()
        relay.queue_declare(RELAY_QUEUE, exclusive=True, auto_delete=True, arguments=topology.relay_arguments())
        relay.queue_bind(RELAY_QUEUE, topology.EXCHANGE, topology.RELAY_BINDING)
        self.publish(DJANGO, topology.EXCHANGE, "event.orders.lock", CONTROL_OUTBOX_KEY, CONTROL_IDENTITY_KEY)
        self.assertEqual(Received(relay, RELAY_QUEUE).take(1), [(topology.EXCHANGE, CONTROL_OUTBOX_KEY)])
        self.assertEqual(relay.queue_declare(RELAY_QUEUE, passive=True).method.message_count, 0)

    def test_django_may_do_nothing_else(self) -> None:
        """No other key or exchange, no reading but of its wake-up queue, nothing of the daemon's or the log's."""
        owner = self.connect(DAEMON).channel()
        owner.queue_declare(OWN_QUEUE, auto_delete=True)
        connection = self.connect(DJANGO)
        relay = connection.channel()
        relay.queue_declare(RELAY_QUEUE, exclusive=True)
        letters = dead_letters(topology.DAEMON_EXCHANGE, "marker.x")
        attempts: list[Try] = [
            lambda it: it.basic_publish(topology.EXCHANGE, "marker.x", b""),
            lambda it: it.basic_publish(topology.EXCHANGE, "event", b""),
            lambda it: it.basic_publish(topology.EXCHANGE, "eventual.orders", b""),
            lambda it: it.basic_publish(topology.DAEMON_EXCHANGE, "marker.x", b""),
            lambda it: it.basic_publish("", OWN_QUEUE, b""),
            lambda it: it.basic_publish("", topology.LOG, b""),
            lambda it: it.basic_publish("amq.topic", "event.orders.lock", b""),
            lambda it: it.queue_declare(""),
            lambda it: it.queue_declare("livepush.p.mine", exclusive=True),
            lambda it: it.queue_declare("livepush.relay.dead", exclusive=True, arguments=letters),
            lambda it: it.queue_bind(OWN_QUEUE, topology.EXCHANGE, "event.#"),
            *(partial(bind, RELAY_QUEUE, topology.EXCHANGE, key) for key in READABLE),
            partial(bind, RELAY_QUEUE, topology.DAEMON_EXCHANGE, "marker.#"),
            lambda it: it.queue_purge(OWN_QUEUE),
            lambda it: it.queue_delete(OWN_QUEUE),
            lambda it: it.basic_consume(OWN_QUEUE, lambda *_: None),
            lambda it: it.basic_get(OWN_QUEUE),
            *WITH_THE_LOG,
            follow,
            topology.declare,
            lambda it: it.exchange_declare("other", durable=True),
            lambda it: it.exchange_delete(topology.EXCHANGE),
            lambda it: it.exchange_bind("amq.topic", topology.EXCHANGE, "#"),
            lambda it: it.exchange_bind(topology.DAEMON_EXCHANGE, topology.EXCHANGE, "#"),
        ]
        for number, attempt in enumerate(attempts):
            self.refused(connection, attempt, what=number)

    def test_the_daemon_may_do_nothing_else(self) -> None:
        """It can't speak as Django, touch exchanges or log, or make queues of other names."""
        connection = self.connect(DAEMON)
        own = connection.channel()
        own.queue_declare(OWN_QUEUE, exclusive=True, auto_delete=True)
        attempts: list[Try] = [
            *(partial(say, topology.EXCHANGE, key) for key in ("event.orders.lock", "control.identity")),
            *(partial(say, topology.EXCHANGE, key) for key in ("live.orders.typing", "marker.x")),
            *(partial(say, topology.DAEMON_EXCHANGE, key) for key in ("event.orders.lock", "control.identity", "x")),
            lambda it: it.basic_publish("amq.topic", "live.x", b""),
            lambda it: it.basic_publish("", OWN_QUEUE, b""),
            lambda it: it.basic_publish("", topology.LOG, b""),
            lambda it: it.queue_declare("", exclusive=True),
            lambda it: it.queue_declare(RELAY_QUEUE, exclusive=True),
            lambda it: it.queue_declare("other", exclusive=True),
            lambda it: it.queue_bind(OWN_QUEUE, topology.EXCHANGE, "#"),
            lambda it: it.queue_bind(OWN_QUEUE, "amq.topic", "event.#"),
            *WITH_THE_LOG,
            topology.declare,
            lambda it: it.exchange_delete(topology.EXCHANGE),
            lambda it: it.exchange_delete(topology.DAEMON_EXCHANGE),
            lambda it: it.exchange_bind(topology.EXCHANGE, "amq.topic", "#"),
            lambda it: it.exchange_bind(topology.EXCHANGE, topology.DAEMON_EXCHANGE, "#"),
        ]
        for number, attempt in enumerate(attempts):
            self.refused(connection, attempt, what=number)

    def test_nobody_empties_the_log(self) -> None:
        """Who may read it may ask for a purge, which a stream does not do."""
        channel = self.connect(DAEMON).channel()
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as caught:
            channel.queue_purge(topology.LOG)
        self.assertEqual(caught.exception.reply_code, 540)
        self.refused(self.connect(DJANGO), lambda it: it.queue_purge(topology.LOG))

    def test_the_daemon_forges_no_event_by_dead_letters(self) -> None:
        """They are not let into Django's exchange, and out of its own only a marker goes anywhere."""
        connection = self.connect(DAEMON)
        for exchange in (topology.EXCHANGE, "amq.topic", ""):
            self.refused(connection, partial(declare_own, dead_letters(exchange, "event.orders.lock")))
        process, channel = self.process_queue(), connection.channel()
        queue = topology.process_queue("host", "dead", "0")
        letters = {**dead_letters(topology.DAEMON_EXCHANGE, "event.orders.lock"), "x-message-ttl": 0}  # dead on arrival
        channel.queue_declare(queue, exclusive=True, arguments=letters)
        channel.queue_bind(queue, topology.EXCHANGE, "event.dies.x")
        honest = [(topology.EXCHANGE, f"event.{name}.x") for name in ("dies", "honest")]
        self.publish(DJANGO, topology.EXCHANGE, honest[0][1])
        while channel.queue_declare(queue, passive=True).method.message_count:
            pass
        self.publish(DJANGO, topology.EXCHANGE, honest[1][1])
        self.assertEqual(self.logged(2), honest)
        self.assertEqual(process.take(2), honest)

    def test_the_daemon_forges_no_event_by_carbon_copies(self) -> None:
        """RabbitMQ checks no keys of CC and BCC; they lead nowhere from the daemon's exchange."""
        process = self.process_queue()
        copies = ["event.orders.lock", "control.identity", topology.LOG, OWN_QUEUE]
        self.publish(DAEMON, topology.DAEMON_EXCHANGE, "marker.x", headers={"CC": copies, "BCC": copies})
        self.publish(DJANGO, topology.EXCHANGE, "event.honest.x")
        honest = (topology.EXCHANGE, "event.honest.x")
        self.assertEqual(self.logged(2), [(topology.DAEMON_EXCHANGE, "marker.x"), honest])
        self.assertEqual(process.take(1), [honest])

    def test_the_daemon_forges_no_event_by_an_alternate_exchange(self) -> None:
        """It can declare no exchange, nor its own anew."""
        connection = self.connect(DAEMON)
        other = {"alternate-exchange": topology.EXCHANGE}
        for name in (topology.DAEMON_EXCHANGE, "livepush.other"):
            self.refused(connection, partial(declare_exchange, name, other))

    def test_an_exchange_in_a_queues_name_leads_nowhere(self) -> None:
        """Rights go by name, so the daemon may declare exchanges `livepush.p.*`; Django's is never behind one."""
        connection = self.connect(DAEMON)
        alternate = {"alternate-exchange": topology.EXCHANGE}
        self.refused(connection, partial(declare_exchange, "livepush.p.exchange", alternate))
        channel = connection.channel()
        channel.exchange_declare("livepush.p.exchange", "topic")
        self.addCleanup(lambda: self.connect(DAEMON).channel().exchange_delete("livepush.p.exchange"))
        self.refused(connection, lambda it: it.exchange_bind(topology.EXCHANGE, "livepush.p.exchange", "#"))
        self.refused(connection, lambda it: it.queue_bind(topology.LOG, "livepush.p.exchange", "#"))

    def test_nobody_enters_another_virtual_host(self) -> None:
        """What else lives in the broker is out of reach."""
        for user in (DJANGO, DAEMON):
            url = self.node.url(user=user, password=PASSWORD, vhost="/")
            with self.assertRaises(exceptions.ProbableAccessDeniedError):
                BlockingConnection(pika.URLParameters(url))

    def test_the_policy_holds_for_process_queues(self) -> None:
        """A queue of livepush's is bounded also when its maker forgot to say so."""
        self.connect(DAEMON).channel().queue_declare(OWN_QUEUE, auto_delete=True)
        rows = self.node.ctl("list_queues", "-p", VHOST, "name", "policy")
        row = next(line for line in rows.splitlines() if line.startswith(OWN_QUEUE))
        self.assertIn("livepush-process-queues", row)


class ConfigurationTests(SynchronousTestCase):
    """`rabbitmq.conf`, with the definitions loaded at each start."""

    def test_a_node_starts_with_it(self) -> None:
        """The example is one that RabbitMQ takes, guest is not made, and the log works and outlives a crash."""
        text = (FOLDER / "rabbitmq.conf").read_text()
        kept = [line for line in text.splitlines() if not line.startswith(("#", "listeners", "load_definitions"))]
        definitions = json.loads(FILE.read_text())
        for user in definitions["users"]:
            user["password_hash"] = base64.b64encode(b"salt" + sha256(b"salt" + PASSWORD.encode()).digest()).decode()
        node = PrivateRabbitMQ(conf=tuple(kept), definitions=json.dumps(definitions))
        self.addCleanup(node.stop)
        node.start()
        users = {line.partition("\t")[0] for line in node.ctl("list_users").splitlines()}
        self.assertEqual(users & {"guest", DJANGO, DAEMON}, {DJANGO, DAEMON})
        exchanges = node.ctl("list_exchanges", "-p", VHOST, "name", "type", "durable")
        for exchange in topology.EXCHANGES:
            self.assertIn(f"{exchange}\t{topology.EXCHANGE_TYPE}\ttrue", exchanges)
        keys = ["event.before.x", "event.after.x"]
        self.publish(node, keys[0])
        node.restart()  # RabbitMQ 3.10 loses a stream that is killed within about a second of being made
        self.log_of(node, DJANGO)
        node.restart(hard=True)
        self.publish(node, keys[1])
        reader = Received(self.log_of(node, DAEMON), topology.LOG, {"x-stream-offset": "first"})
        self.assertEqual(reader.take(2), [(topology.EXCHANGE, key) for key in keys])

    def publish(self, node: PrivateRabbitMQ, key: str) -> None:
        channel = self.log_of(node, DJANGO)
        channel.confirm_delivery()
        channel.basic_publish(topology.EXCHANGE, key, b"x", mandatory=True)

    def log_of(self, node: PrivateRabbitMQ, user: str) -> BlockingChannel:
        """A channel of a node whose log is up, which takes it about a second after its start."""
        url = pika.URLParameters(node.url(user=user, password=PASSWORD, vhost=VHOST))
        connection = BlockingConnection(url)
        self.addCleanup(hang_up, connection)
        for _ in range(60):
            channel = connection.channel()
            try:
                channel.queue_declare(topology.LOG, passive=True)
            except exceptions.ChannelClosedByBroker as refused:
                self.assertIn("home node", refused.reply_text)
                connection.sleep(0.5)
            else:
                return channel
        raise AssertionError("the log is not up within 30 s")


class DefinitionsTests(SynchronousTestCase):
    """`definitions.json` and `livepush.broker.topology` say the same."""

    def setUp(self) -> None:
        self.definitions = json.loads(FILE.read_text())

    def test_exchanges(self) -> None:
        """Name and type of each."""
        found = [(one["name"], one["type"], one["durable"]) for one in self.definitions["exchanges"]]
        self.assertEqual(found, [(exchange, topology.EXCHANGE_TYPE, True) for exchange in topology.EXCHANGES])

    def test_the_log(self) -> None:
        """Its arguments, or a declaration would be refused with 406, and what is bound to it."""
        (log,) = self.definitions["queues"]
        self.assertEqual(
            (log["name"], log["durable"], log["arguments"]), (topology.LOG, True, topology.log_arguments())
        )
        bound = [(one["source"], one["routing_key"]) for one in self.definitions["bindings"]]
        self.assertEqual(bound, list(topology.LOG_BINDINGS))
        self.assertEqual({one["destination"] for one in self.definitions["bindings"]}, {topology.LOG})
