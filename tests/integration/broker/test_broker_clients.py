"""pika's other two clients, which livepush uses, against both brokers: SelectConnection and the Twisted adapter."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

import pika
from pika import exceptions
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.integration.broker.contract import Embedded, RabbitMQ
from tests.integration.broker.test_broker_contract import acknowledged

if TYPE_CHECKING:
    SynchronousBase = SynchronousTestCase
    AsynchronousBase = TestCase
else:
    SynchronousBase = AsynchronousBase = object

COUNT = 2000


class SelectConnectionContract(SynchronousBase):
    """`pika.SelectConnection`, as Django's publisher uses it."""

    def address(self) -> str:
        raise NotImplementedError

    def test_thousands_are_published_before_the_first_confirm(self) -> None:
        """All are confirmed, in order, and one that is mandatory and unroutable comes back before its confirm."""
        confirmed: set[int] = set()
        returned: list[str] = []
        failed: list[object] = []

        def opened(channel: Any) -> None:
            channel.add_on_return_callback(lambda _c, method, _p, _b: returned.append(method.routing_key))
            channel.exchange_declare("e", "topic", callback=lambda _: channel.queue_declare("q", callback=declared))
            self.publisher = channel

        def declared(_frame: object) -> None:
            self.publisher.queue_bind("q", "e", "event.#", callback=bound)

        def bound(_frame: object) -> None:
            self.publisher.confirm_delivery(confirm, callback=selected)

        def selected(_frame: object) -> None:
            for number in range(COUNT):
                self.publisher.basic_publish("e", f"event.{number}", b"x" * 100, mandatory=True)
            self.publisher.basic_publish("e", "nobody", b"x", mandatory=True)

        def confirm(frame: Any) -> None:
            if not isinstance(frame.method, pika.spec.Basic.Ack):
                failed.append(frame)
            confirmed.update(acknowledged(frame.method, confirmed))
            if len(confirmed) > COUNT:
                self.assertEqual(returned, ["nobody"])
                connection.close()

        def stop(_connection: object, reason: object) -> None:
            if not isinstance(reason, exceptions.ConnectionClosedByClient):
                failed.append(reason)
            connection.ioloop.stop()

        connection = pika.SelectConnection(
            pika.URLParameters(self.address()),
            on_open_callback=lambda it: it.channel(on_open_callback=opened),
            on_open_error_callback=stop,
            on_close_callback=stop,
        )
        deadline = connection.ioloop.call_later(60, lambda: stop(connection, "timeout"))
        connection.ioloop.start()
        connection.ioloop.remove_timeout(deadline)
        connection.ioloop.close()
        self.assertEqual(failed, [])
        self.assertEqual(confirmed, set(range(1, COUNT + 2)))


class TwistedAdapterContract(AsynchronousBase):
    """pika's Twisted protocol, as the daemon's feed uses it."""

    def address(self) -> str:
        raise NotImplementedError

    async def connect(self, url: str) -> Any:
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from pika.adapters.twisted_connection import TwistedProtocolConnection

            parameters = pika.URLParameters(url)
            protocol: Any = TwistedProtocolConnection(cast(pika.ConnectionParameters, parameters))
        await connectProtocol(TCP4ClientEndpoint(reactor, parameters.host, parameters.port), protocol)
        await protocol.ready
        return protocol

    async def hang_up(self, protocol: Any) -> None:
        protocol.close()
        await protocol.closed

    def test_an_own_queue_delivers_what_another_connection_publishes(self) -> None:
        """Exclusive queue, bindings, prefetch, multiple acknowledgements: all messages, in order."""
        return Deferred.fromCoroutine(self.own_queue())  # type: ignore[return-value]

    async def own_queue(self) -> None:
        url = self.address()
        consuming, publishing = await self.connect(url), await self.connect(url)
        channel = await consuming.channel()
        await channel.exchange_declare("e", "topic", durable=True)
        arguments = {"x-max-length": 50_000, "x-overflow": "drop-head"}
        await channel.queue_declare("p.1", exclusive=True, auto_delete=True, arguments=arguments)
        await channel.queue_bind("p.1", "e", "event.#")
        await channel.basic_qos(prefetch_count=100)
        queue, _tag = await channel.basic_consume("p.1")
        publisher = await publishing.channel()
        await publisher.confirm_delivery()
        sent = [publisher.basic_publish("e", "event.x", str(number).encode()) for number in range(COUNT)]
        for number in range(COUNT):
            _, method, _, body = await queue.get()
            self.assertEqual(body, str(number).encode())
            if number % 50 == 49:
                channel.basic_ack(method.delivery_tag, multiple=True)
        for one in sent:
            await one
        await self.hang_up(publishing)
        await self.hang_up(consuming)

    def test_a_deleted_queue_cancels_its_consumer(self) -> None:
        """The feed learns it at once."""
        return Deferred.fromCoroutine(self.deleted_queue())  # type: ignore[return-value]

    async def deleted_queue(self) -> None:
        protocol = await self.connect(self.address())
        channel = await protocol.channel()
        await channel.queue_declare("q")
        queue, _tag = await channel.basic_consume("q")
        other = await protocol.channel()
        await other.queue_delete("q")
        with self.assertRaises(exceptions.ConsumerCancelled):
            await queue.get()
        await self.hang_up(protocol)


class EmbeddedSelectTests(Embedded, SelectConnectionContract, SynchronousTestCase):
    """SelectConnection and the embedded broker."""


class RabbitMQSelectTests(RabbitMQ, SelectConnectionContract, SynchronousTestCase):
    """SelectConnection and RabbitMQ."""


class EmbeddedTwistedTests(Embedded, TwistedAdapterContract, TestCase):
    """The Twisted adapter and the embedded broker."""


class RabbitMQTwistedTests(RabbitMQ, TwistedAdapterContract, TestCase):
    """The Twisted adapter and RabbitMQ."""
