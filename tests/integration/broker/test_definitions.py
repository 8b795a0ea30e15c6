"""`broker/rabbitmq/`: a real node takes it, and each user may do its work and nothing beyond."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker import topology
from tests.servers.rabbitmq import PrivateRabbitMQ, shared_rabbitmq

FOLDER = Path(__file__).parents[3] / "broker" / "rabbitmq"
VHOST = "livepush"
DJANGO, DAEMON = "livepush-django", "livepush-daemon"
PASSWORD = "only of this test"
OWN_QUEUE = topology.process_queue("host", "1", "nonce")

Try = Callable[[BlockingChannel], Any]


class RightsTests(SynchronousTestCase):
    """The two users of `definitions.json`, imported into a running node."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.node.ctl("import_definitions", str(FOLDER / "definitions.json"))
        remove = f'rabbit_vhost:delete(<<"{VHOST}">>, <<"t">>), '
        remove += ", ".join(
            f'rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"t">>)' for user in (DJANGO, DAEMON)
        )
        self.addCleanup(self.node.ctl, "eval", f"{remove}, ok.")
        change = (f'change_password(<<"{user}">>, <<"{PASSWORD}">>, <<"t">>)' for user in (DJANGO, DAEMON))
        self.node.ctl("eval", ", ".join(f"rabbit_auth_backend_internal:{step}" for step in change) + ".")

    def connect(self, user: str, password: str = PASSWORD) -> BlockingConnection:
        url = self.node.url(user=user, password=password, vhost=VHOST)
        connection = BlockingConnection(pika.URLParameters(url))
        self.addCleanup(lambda: connection.close() if connection.is_open else None)
        return connection

    def refused(self, connection: BlockingConnection, attempt: Try, code: int = 403) -> None:
        """The attempt, on a channel of its own, ends with this code and the connection lives."""
        channel = connection.channel()
        channel.confirm_delivery()
        error = self.assertRaises(exceptions.ChannelClosedByBroker, attempt, channel)
        self.assertEqual(error.reply_code, code, str(error))
        self.assertTrue(connection.is_open)

    def test_nobody_gets_in_before_a_password_is_set(self) -> None:
        """The file holds no usable password: not an empty one, not the user's name."""
        self.node.ctl("import_definitions", str(FOLDER / "definitions.json"))
        for user in (DJANGO, DAEMON):
            for password in ("", user, "guest", PASSWORD):
                with self.assertRaises(exceptions.ProbableAuthenticationError):
                    self.connect(user, password)

    def test_django_publishes_and_a_process_receives(self) -> None:
        """Everything that the two sides do, with their own rights."""
        daemon = self.connect(DAEMON).channel()
        daemon.exchange_declare(topology.EXCHANGE, passive=True)
        daemon.queue_declare(OWN_QUEUE, exclusive=True, auto_delete=True, arguments=topology.queue_arguments())
        for binding in topology.BINDINGS:
            daemon.queue_bind(OWN_QUEUE, topology.EXCHANGE, binding)
        daemon.basic_qos(prefetch_count=10)
        django = self.connect(DJANGO).channel()
        django.confirm_delivery()
        django.exchange_declare(topology.EXCHANGE, passive=True)
        keys = ["event.orders.lock", "control.user", "live.orders.typing"]
        for key in keys:
            django.basic_publish(topology.EXCHANGE, key, b"x", mandatory=True)
        daemon.confirm_delivery()
        daemon.basic_publish(topology.EXCHANGE, "live.presence.x", b"x", mandatory=True)
        with self.assertRaises(exceptions.UnroutableError):  # allowed; the log that would keep it comes later
            daemon.basic_publish(topology.EXCHANGE, "marker.x", b"x", mandatory=True)
        came = []
        for method, _properties, _body in daemon.consume(OWN_QUEUE):
            came.append(method.routing_key)
            if len(came) == 4:
                break
        daemon.basic_ack(0, multiple=True)
        self.assertEqual(came, [*keys, "live.presence.x"])

    def test_django_may_do_nothing_else(self) -> None:
        """No other key, no other exchange, no queue, no binding, no consuming, no declaring."""
        owner = self.connect(DAEMON).channel()
        owner.queue_declare(OWN_QUEUE, auto_delete=True)
        connection = self.connect(DJANGO)
        attempts: list[Try] = [
            lambda it: it.basic_publish(topology.EXCHANGE, "marker.x", b""),
            lambda it: it.basic_publish(topology.EXCHANGE, "event", b""),
            lambda it: it.basic_publish(topology.EXCHANGE, "eventual.orders", b""),
            lambda it: it.basic_publish("", OWN_QUEUE, b""),
            lambda it: it.basic_publish("amq.topic", "event.orders.lock", b""),
            lambda it: it.queue_declare(""),
            lambda it: it.queue_declare("livepush.p.mine", exclusive=True),
            lambda it: it.queue_bind(OWN_QUEUE, topology.EXCHANGE, "event.#"),
            lambda it: it.queue_purge(OWN_QUEUE),
            lambda it: it.queue_delete(OWN_QUEUE),
            lambda it: it.basic_consume(OWN_QUEUE, lambda *_: None),
            lambda it: it.basic_get(OWN_QUEUE),
            topology.declare,
            lambda it: it.exchange_declare("other", durable=True),
            lambda it: it.exchange_delete(topology.EXCHANGE),
            lambda it: it.exchange_bind("amq.topic", topology.EXCHANGE, "#"),
        ]
        for attempt in attempts:
            self.refused(connection, attempt)

    def test_the_daemon_may_do_nothing_else(self) -> None:
        """It can't speak as Django, touch the exchange or make queues of other names."""
        connection = self.connect(DAEMON)
        own = connection.channel()
        own.queue_declare(OWN_QUEUE, exclusive=True, auto_delete=True)
        attempts: list[Try] = [
            lambda it: it.basic_publish(topology.EXCHANGE, "event.orders.lock", b""),
            lambda it: it.basic_publish(topology.EXCHANGE, "control.user", b""),
            lambda it: it.basic_publish("amq.topic", "live.x", b""),
            lambda it: it.basic_publish("", OWN_QUEUE, b""),
            lambda it: it.queue_declare("", exclusive=True),
            lambda it: it.queue_declare("livepush.log", durable=True),
            lambda it: it.queue_declare("other", exclusive=True),
            lambda it: it.queue_bind(OWN_QUEUE, topology.EXCHANGE, "#"),
            lambda it: it.queue_bind(OWN_QUEUE, "amq.topic", "event.#"),
            topology.declare,
            lambda it: it.exchange_delete(topology.EXCHANGE),
            lambda it: it.exchange_bind(topology.EXCHANGE, "amq.topic", "#"),
        ]
        for attempt in attempts:
            self.refused(connection, attempt)

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
    """`rabbitmq.conf`, with the definitions loaded at the start."""

    def test_a_node_starts_with_it(self) -> None:
        """The example is one that RabbitMQ takes, and user guest is not made."""
        text = (FOLDER / "rabbitmq.conf").read_text()
        kept = [line for line in text.splitlines() if not line.startswith(("#", "listeners", "load_definitions"))]
        node = PrivateRabbitMQ(conf=tuple(kept), definitions=(FOLDER / "definitions.json").read_text())
        self.addCleanup(node.stop)
        node.start()
        users = {line.partition("\t")[0] for line in node.ctl("list_users").splitlines()}
        self.assertEqual(users & {"guest", DJANGO, DAEMON}, {DJANGO, DAEMON})
        exchanges = node.ctl("list_exchanges", "-p", VHOST, "name", "type", "durable")
        self.assertIn(f"{topology.EXCHANGE}\t{topology.EXCHANGE_TYPE}\ttrue", exchanges)
