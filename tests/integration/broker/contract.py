"""The steps that the contract suites are written in, and the brokers that they run against."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from twisted.trial.unittest import SynchronousTestCase

from tests.servers.embedded import shared_embedded
from tests.servers.rabbitmq import shared_rabbitmq

if TYPE_CHECKING:
    Base = SynchronousTestCase
else:
    Base = object

Act = Callable[[BlockingChannel], Any]


class Embedded:
    """The embedded broker."""

    def address(self) -> str:
        running = shared_embedded().fresh_broker()
        self.addCleanup(running.delete)  # type: ignore[attr-defined]
        return running.url()


class RabbitMQ:
    """A virtual host of RabbitMQ's."""

    def address(self) -> str:
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)  # type: ignore[attr-defined]
        return vhost.url()


class Steps(Base):
    """A connection to a broker that is empty, and what tests do with it."""

    def address(self) -> str:
        """The `amqp:` address of a broker, or a virtual host, that is empty."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.url = self.address()
        self.connection = self.connect()
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()  # what a test has published is in the queues

    def connect(self, url: str | None = None) -> BlockingConnection:
        parameters = pika.URLParameters(url or self.url)
        parameters.socket_timeout = parameters.stack_timeout = 30
        parameters.connection_attempts = 1
        connection = BlockingConnection(parameters)
        self.addCleanup(hang_up, connection)
        return connection

    def refused(self, code: int, act: Act) -> None:
        """The act ends its channel with this code, and the connection goes on."""
        channel = self.connection.channel()
        with self.assertRaises(exceptions.ChannelClosedByBroker) as caught:
            act(channel)
            channel.queue_declare("")  # answered after whatever the act sent
        self.assertEqual(caught.exception.reply_code, code, str(caught.exception))
        self.connection.channel().close()

    def ended(self, code: int, act: Act) -> None:
        """The act ends its connection with this code, and others go on."""
        channel = self.connect().channel()
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as caught:
            act(channel)
            channel.queue_declare("")
        self.assertEqual(caught.exception.reply_code, code, str(caught.exception))
        self.connection.channel().close()

    def queue(self, name: str = "", **options: Any) -> str:
        return str(self.channel.queue_declare(name, **options).method.queue)

    def ready(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def publish(self, queue: str, *bodies: str, channel: BlockingChannel | None = None) -> None:
        for body in bodies:
            (channel or self.channel).basic_publish("", queue, body.encode())

    def drain(self, queue: str) -> list[str]:
        """Everything ready, in order."""
        bodies = []
        while (got := self.channel.basic_get(queue, auto_ack=True))[2] is not None:
            bodies.append(got[2].decode())
        return bodies

    def take(self, queue: str, count: int) -> list[int]:
        """Gets messages, never delivered before, without acknowledging: their tags."""
        tags = []
        for _ in range(count):
            method = self.channel.basic_get(queue)[0]
            assert method is not None
            self.assertFalse(method.redelivered)
            tags.append(method.delivery_tag or 0)
        return tags

    def deliveries(self, channel: BlockingChannel, queue: str, count: int) -> list[tuple[int, str, bool]]:
        """Consumes without acknowledging until `count` came: tag, body, whether redelivered."""
        came: list[tuple[int, str, bool]] = []
        channel.basic_consume(
            queue, lambda _c, m, _p, b: came.append((m.delivery_tag or 0, b.decode(), bool(m.redelivered)))
        )
        self.wait(channel, lambda: len(came) >= count)
        return came

    def wait(self, channel: BlockingChannel, until: Callable[[], bool]) -> None:
        """Works on the connection until something is so."""
        for _ in range(300):
            if until():
                return
            channel.connection.process_data_events(0.1)
        self.fail("nothing came within 30 s")


def inside(thing: Any) -> Any:
    """pika's own connection or channel behind a blocking one: for what the blocking one would not do."""
    return thing._impl


def hang_up(connection: BlockingConnection) -> None:
    """Closes it, whatever a test did to it."""
    with contextlib.suppress(exceptions.AMQPError):
        connection.close()
