"""One AMQP channel of a `livepush.broker.amqp.Connection`: what is declared, consumed and published on it.

    Channel.declare_* bind     one request each, answered by the broker, or `ChannelRefused`, and the channel is gone
            consume            deliveries, read beside pika by the connection's `DeliveryReader`; one consumer a channel
            confirm publish    the fate of what is published: confirmed, refused, returned
            close              ends the channel and leaves the connection

A channel that the broker closes while nothing was asked of it ends its connection: a consumer that went silent would
else look like one that has nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pika
import pika.channel
import pika.exceptions
import pika.spec
from twisted.internet.defer import Deferred

from livepush.broker.deliveries import Deliver
from livepush.broker.errors import ChannelRefused, ConnectionFailed

if TYPE_CHECKING:
    from livepush.broker.amqp import Connection


class Channel:
    """A channel. Requests are answered one by one; made by `Connection.channel`."""

    def __init__(self, connection: Connection, raw: pika.channel.Channel) -> None:
        self._connection, self._raw = connection, raw
        self._pending: set[Deferred[Any]] = set()
        raw.add_on_close_callback(self._on_close)
        raw.add_on_cancel_callback(self._on_cancel)

    async def declare_exchange(self, name: str, kind: str, *, passive: bool) -> None:
        """Makes a durable exchange, or (passive) sees that it is there."""
        await self._request(
            lambda done: self._raw.exchange_declare(
                name, exchange_type=kind, durable=True, passive=passive, callback=done
            )
        )

    async def declare_process_queue(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Makes a queue that lives as long as this connection."""
        await self._request(
            lambda done: self._raw.queue_declare(
                name, exclusive=True, auto_delete=True, arguments=arguments, callback=done
            )
        )

    async def declare_log(self, name: str, arguments: Mapping[str, Any], *, passive: bool) -> None:
        """Makes a durable stream, or (passive) sees that it is there."""
        wanted = None if passive else arguments
        await self._request(
            lambda done: self._raw.queue_declare(name, durable=True, passive=passive, arguments=wanted, callback=done)
        )

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """From now on messages with such keys come into the queue."""
        await self._request(lambda done: self._raw.queue_bind(queue, exchange, key, callback=done))

    async def consume(
        self,
        queue: str,
        prefetch: int,
        deliver: Deliver,
        foreign: Deliver | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts delivery, acknowledged by hand. Runs on before the first message is read.

        Args:
            queue: its name.
            prefetch: messages that the broker sends ahead of their acknowledgement.
            deliver: gets the messages; it must not raise.
            foreign: gets those of another exchange than Django's, see `DeliveryReader.listen`.
            arguments: of the consumer.
        """
        await self._request(lambda done: self._raw.basic_qos(prefetch_count=prefetch, callback=done))
        self._connection.reader.listen(self._raw.channel_number, deliver, foreign)
        await self._request(
            lambda done: self._raw.basic_consume(
                queue, on_message_callback=_unexpected, arguments=arguments, callback=done
            )
        )

    def acknowledge(self, tag: int) -> bool:
        """This delivery and all before it; False when the channel is closed or closing, and it makes no difference."""
        if not self._raw.is_open:
            return False
        self._raw.basic_ack(tag, multiple=True)
        return True

    async def confirm(self, settled: Callable[[bool], None], returned: Callable[[], None]) -> None:
        """From now on the broker tells the fate of what is published.

        Args:
            settled: everything published so far has been confirmed (True), or refused (False).
            returned: the message had no queue; its confirm comes all the same, after this.
        """
        self._raw.add_on_return_callback(lambda *_: returned())
        await self._request(
            lambda done: self._raw.confirm_delivery(
                lambda frame: settled(isinstance(frame.method, pika.spec.Basic.Ack)), callback=done
            )
        )

    def publish(self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties) -> bool:
        """Sends a message that is to be returned if no queue wants it. False: the channel is closed or closing."""
        if not self._raw.is_open:
            return False
        self._raw.basic_publish(exchange, key, body, properties, mandatory=True)
        return True

    def close(self) -> None:
        """Ends the channel; what is on its way here still comes."""
        if self._raw.is_open:
            self._raw.close()

    async def _request(self, call: Callable[[Callable[[Any], None]], object]) -> None:
        reply = self._connection.expect()
        self._pending.add(reply)
        self._connection.call(reply, lambda: call(lambda frame: self._connection.fulfil(reply, frame)))
        try:
            await reply
        finally:
            self._pending.discard(reply)

    def _on_close(self, channel: pika.channel.Channel, problem: Exception) -> None:
        self._connection.reader.ignore(channel.channel_number)
        if not isinstance(problem, pika.exceptions.ChannelClosedByBroker):
            return  # by `close`, or with the connection, which tells everybody
        refused = ChannelRefused(problem.reply_code, problem.reply_text)
        if self._pending:
            for reply in list(self._pending):
                self._connection.fail(reply, refused)
        else:
            self._connection.abort(refused)

    def _on_cancel(self, _frame: object) -> None:
        self._connection.abort(ConnectionFailed("the broker cancelled the consumer: somebody deleted its queue"))


def _unexpected(*_: object) -> None:
    """Deliveries are read before pika sees them."""
