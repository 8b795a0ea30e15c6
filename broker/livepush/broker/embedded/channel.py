"""A channel: publishing, consuming and acknowledging (AMQP 1.5, 1.8; RabbitMQ's confirms and nack).

The methods that a client may call stand in `_HANDLERS`; any other is refused with 540.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pika import amqp_object, spec

from livepush.broker.embedded.consumer import Consumer
from livepush.broker.embedded.declaration import DECLARATIONS, Answer
from livepush.broker.embedded.framing import content_frames
from livepush.broker.embedded.message import Message, Publication
from livepush.broker.embedded.refusal import (
    ACCESS_REFUSED,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    RESOURCE_ERROR,
    UNEXPECTED_FRAME,
    ChannelRefused,
    ConnectionRefused,
)
from livepush.broker.embedded.unacked import Unacked

if TYPE_CHECKING:
    from livepush.broker.embedded.connection import Connection
    from livepush.broker.embedded.stream import AnyQueue

_NO_ROUTE = 312


class Channel:
    """One open channel of one connection.

    Attributes:
        closing: it was refused; until the client says CloseOk everything on it is ignored.
        last_queue: the one declared last, which an empty name means.
    """

    __slots__ = (
        "_answered",
        "_broker",
        "_confirms",
        "_consumers",
        "_incoming",
        "_prefetch",
        "_published",
        "closing",
        "connection",
        "last_queue",
        "number",
        "unacked",
        "vhost",
    )

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection, self.number = connection, number
        self.closing = False
        self.last_queue = ""
        self._broker, self.vhost = connection.broker, connection.broker.vhost
        self.unacked = Unacked(connection.broker.limits.unacked)
        self._consumers: dict[str, Consumer] = {}
        self._prefetch = 0
        self._incoming: Publication | None = None
        self._confirms = False
        self._published = self._answered = 0

    # --- what comes in

    def method(self, method: amqp_object.Method) -> None:
        """Any method but `basic.publish`."""
        if self._incoming is not None:
            raise ConnectionRefused(UNEXPECTED_FRAME, "a method where content was expected")
        handler = _HANDLERS.get(type(method))
        if handler is None:
            raise ConnectionRefused(NOT_IMPLEMENTED, f"{method.NAME} in the embedded broker")
        answer = handler(self, method)
        if answer is not None:
            self.reply(answer)

    def publish(self, payload: bytes) -> None:
        """`basic.publish`; its content follows."""
        if self._incoming is not None:
            raise ConnectionRefused(UNEXPECTED_FRAME, "a method where content was expected")
        self._incoming = Publication(payload)

    def header(self, payload: bytes) -> None:
        """A content header frame."""
        incoming = self._incoming
        if incoming is None or incoming.missing >= 0:
            raise ConnectionRefused(UNEXPECTED_FRAME, "a content header that nothing announced")
        incoming.take_header(payload, self._broker.limits.message_bytes, self._broker.user)
        if not incoming.missing:
            self._complete(incoming)

    def body(self, payload: bytes) -> None:
        """A body frame. All but a message's last count as held while the rest is coming."""
        incoming = self._incoming
        if incoming is None or incoming.missing < 0:
            raise ConnectionRefused(UNEXPECTED_FRAME, "a message body that nothing announced")
        ledger = self._broker.ledger
        size = len(payload)
        if size < incoming.missing and ledger.full:
            raise ConnectionRefused(RESOURCE_ERROR, "the embedded broker holds as many bytes as it may")
        incoming.take_body(payload)
        if incoming.missing:
            ledger.held += size
        else:
            ledger.held -= incoming.received - size
            self._complete(incoming)

    # --- what goes out

    def reply(self, method: amqp_object.Method) -> None:
        """Sends a method."""
        self.connection.send_method(self.number, method)

    def confirm(self) -> None:
        """Acknowledges what was published since the last time, in one frame."""
        if self._answered < self._published:
            several = self._published - self._answered > 1
            self._answered = self._published
            self.reply(spec.Basic.Ack(self._published, several))

    def pump(self) -> None:
        """The client reads again: its consumers go on."""
        for consumer in list(self._consumers.values()):
            consumer.queue.pump()

    def forget(self, consumer: Consumer) -> None:
        """Its consumer is gone."""
        self._consumers.pop(consumer.tag, None)

    def close(self) -> None:
        """The channel ends: its consumers go, and what it did not acknowledge goes back."""
        if self._incoming is not None and self._incoming.missing > 0:
            self._broker.ledger.held -= self._incoming.received
        self._incoming = None
        self._answered = self._published
        for consumer in list(self._consumers.values()):
            self._drop(consumer)
        self.unacked.settle(0, multiple=True, requeue=True)

    # --- publishing

    def _complete(self, incoming: Publication) -> None:
        self._incoming = None
        exchange = self.vhost.exchange(incoming.exchange)
        message = incoming.message()
        queues = exchange.route(incoming.key)
        if not queues and incoming.mandatory:
            self.reply(spec.Basic.Return(_NO_ROUTE, "NO_ROUTE", incoming.exchange, incoming.key))
            self._send_content(message)
        kept = True
        if queues and self._broker.ledger.full:
            self._broker.refused += 1
            kept = False
        else:
            for queue in queues:
                kept &= queue.put(message)
        if self._confirms:
            if kept:
                self._published += 1
                self.connection.owes_confirm(self)
            else:
                self.confirm()  # all before it
                self._published += 1
                self._answered = self._published
                self.reply(spec.Basic.Nack(self._published, requeue=False))

    def _send_content(self, message: Message) -> None:
        frames = content_frames(self.number, message.header, message.body, self.connection.frame_bytes)
        self.connection.send(frames)

    def _confirm_select(self, method: spec.Confirm.Select) -> Answer:
        self._confirms = True
        return None if method.nowait else spec.Confirm.SelectOk()

    # --- consuming

    def queue(self, name: str | None) -> AnyQueue:
        """A queue that this connection may use."""
        if not (name or self.last_queue):
            raise ChannelRefused(NOT_FOUND, "no previously declared queue")
        return self.vhost.queue(name or self.last_queue, self.connection)

    def _qos(self, method: spec.Basic.Qos) -> Answer:
        if method.prefetch_size:
            raise ConnectionRefused(NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
        if method.global_qos:
            raise ConnectionRefused(NOT_IMPLEMENTED, "global prefetch in the embedded broker")
        self._prefetch = method.prefetch_count  # for consumers to come, as with RabbitMQ
        return spec.Basic.QosOk()

    def _consume(self, method: spec.Basic.Consume) -> Answer:
        queue = self.queue(method.queue)
        tag = method.consumer_tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
        if tag in self._consumers:
            raise ConnectionRefused(NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
        if len(self._consumers) >= self._broker.limits.consumers:
            raise ConnectionRefused(NOT_ALLOWED, "reached maximum of consumers per channel")
        if any(other.exclusive for other in queue.consumers) or (method.exclusive and queue.consumers):
            raise ChannelRefused(ACCESS_REFUSED, f"queue '{queue.name}' in vhost '/' in exclusive use")
        acks, exclusive = not method.no_ack, bool(method.exclusive)
        start = queue.start(method.arguments or {}, acks=acks, prefetch=self._prefetch)
        consumer = Consumer(self, tag, queue, acks=acks, exclusive=exclusive, prefetch=self._prefetch)
        self._consumers[tag] = consumer
        if not method.nowait:
            self.reply(spec.Basic.ConsumeOk(tag))  # before the first delivery
        queue.attach(consumer, start)
        return None

    def _cancel(self, method: spec.Basic.Cancel) -> Answer:
        consumer = self._consumers.get(method.consumer_tag or "")
        if consumer is not None:
            self._drop(consumer)
        return None if method.nowait else spec.Basic.CancelOk(method.consumer_tag)

    def _cancel_ok(self, _method: spec.Basic.CancelOk) -> Answer:
        return None  # the client heard that its consumer is gone

    def _drop(self, consumer: Consumer) -> None:
        self.forget(consumer)
        queue = consumer.queue
        if consumer in queue.consumers:
            queue.detach(consumer)
            if queue.auto_delete and not queue.consumers:
                self.vhost.delete_queue(queue)

    def _get(self, method: spec.Basic.Get) -> Answer:
        queue = self.queue(method.queue)
        queue.check_get()
        if not method.no_ack and not self.unacked.room:
            raise ConnectionRefused(RESOURCE_ERROR, "as many messages wait for an acknowledgement as may")
        entry = queue.get()
        if entry is None:
            return spec.Basic.GetEmpty()
        tag = self.unacked.next_tag() if method.no_ack else self.unacked.add(None, queue, entry)
        message = entry.message
        self.reply(spec.Basic.GetOk(tag, entry.redelivered, *message.route(), queue.count))
        self._send_content(message)
        if method.no_ack:
            queue.settle(entry)
        return None

    # --- acknowledging

    def _ack(self, method: spec.Basic.Ack) -> Answer:
        self._settle(method.delivery_tag, multiple=method.multiple, requeue=False)
        return None

    def _nack(self, method: spec.Basic.Nack) -> Answer:
        self.unacked.check_reject(method.delivery_tag or 0, multiple=method.multiple)
        self._settle(method.delivery_tag, multiple=method.multiple, requeue=method.requeue)
        return None

    def _reject(self, method: spec.Basic.Reject) -> Answer:
        self.unacked.check_reject(method.delivery_tag or 0, multiple=False)
        self._settle(method.delivery_tag, multiple=False, requeue=method.requeue)
        return None

    def _recover(self, method: spec.Basic.Recover) -> Answer:
        if not method.requeue:
            raise ConnectionRefused(NOT_IMPLEMENTED, "requeue=false")
        self.unacked.check_reject(0, multiple=True)
        self._settle(0, multiple=True, requeue=True)
        return spec.Basic.RecoverOk()

    def _settle(self, tag: int | None, *, multiple: bool, requeue: bool) -> None:
        if self.unacked.settle(tag or 0, multiple=multiple, requeue=requeue):
            self.pump()

    def _flow(self, method: spec.Channel.Flow) -> Answer:
        if not method.active:
            raise ConnectionRefused(NOT_IMPLEMENTED, "active=false")
        return spec.Channel.FlowOk(active=True)


_HANDLERS: dict[type[amqp_object.Method], Callable[[Channel, Any], Answer]] = {
    spec.Basic.Ack: Channel._ack,
    spec.Basic.Cancel: Channel._cancel,
    spec.Basic.CancelOk: Channel._cancel_ok,
    spec.Basic.Consume: Channel._consume,
    spec.Basic.Get: Channel._get,
    spec.Basic.Nack: Channel._nack,
    spec.Basic.Qos: Channel._qos,
    spec.Basic.Recover: Channel._recover,
    spec.Basic.Reject: Channel._reject,
    spec.Channel.Flow: Channel._flow,
    spec.Confirm.Select: Channel._confirm_select,
    **DECLARATIONS,
}
