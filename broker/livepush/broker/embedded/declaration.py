"""What a client makes and unmakes: the methods of the classes exchange and queue (AMQP 1.6, 1.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pika import amqp_object, spec

from livepush.broker.embedded.refusal import PRECONDITION_FAILED, ChannelRefused

if TYPE_CHECKING:
    from livepush.broker.embedded.channel import Channel

Answer = amqp_object.Method | None


def _exchange_declare(channel: Channel, method: spec.Exchange.Declare) -> Answer:
    name = method.exchange or ""
    if method.passive:
        channel.vhost.exchange(name)
    else:
        channel.vhost.declare_exchange(
            name,
            method.type,
            durable=method.durable,
            auto_delete=method.auto_delete,
            internal=method.internal,
            arguments=method.arguments,
        )
    return None if method.nowait else spec.Exchange.DeclareOk()


def _exchange_delete(channel: Channel, method: spec.Exchange.Delete) -> Answer:
    channel.vhost.delete_exchange(method.exchange or "", if_unused=method.if_unused)
    return None if method.nowait else spec.Exchange.DeleteOk()


def _queue_declare(channel: Channel, method: spec.Queue.Declare) -> Answer:
    if method.passive:
        queue = channel.queue(method.queue)
    else:
        queue = channel.vhost.declare_queue(
            method.queue,
            channel.connection,
            durable=method.durable,
            exclusive=method.exclusive,
            auto_delete=method.auto_delete,
            arguments=method.arguments or {},
        )
    channel.last_queue = queue.name
    return None if method.nowait else spec.Queue.DeclareOk(queue.name, queue.count, len(queue.consumers))


def _queue_bind(channel: Channel, method: spec.Queue.Bind) -> Answer:
    channel.vhost.bind(channel.queue(method.queue), method.exchange or "", method.routing_key or "")
    return None if method.nowait else spec.Queue.BindOk()


def _queue_unbind(channel: Channel, method: spec.Queue.Unbind) -> Answer:
    channel.vhost.unbind(channel.queue(method.queue), method.exchange or "", method.routing_key or "")
    return spec.Queue.UnbindOk()


def _queue_purge(channel: Channel, method: spec.Queue.Purge) -> Answer:
    count = channel.queue(method.queue).purge()
    return None if method.nowait else spec.Queue.PurgeOk(count)


def _queue_delete(channel: Channel, method: spec.Queue.Delete) -> Answer:
    count = 0
    if (method.queue or channel.last_queue) in channel.vhost.queues:
        queue = channel.queue(method.queue)
        count = queue.count
        if (method.if_unused and queue.consumers) or (method.if_empty and count):
            raise ChannelRefused(PRECONDITION_FAILED, f"queue '{queue.name}' in vhost '/' in use or not empty")
        channel.vhost.delete_queue(queue)
    return None if method.nowait else spec.Queue.DeleteOk(count)


DECLARATIONS: dict[type[amqp_object.Method], Callable[[Channel, Any], Answer]] = {
    spec.Exchange.Declare: _exchange_declare,
    spec.Exchange.Delete: _exchange_delete,
    spec.Queue.Bind: _queue_bind,
    spec.Queue.Declare: _queue_declare,
    spec.Queue.Delete: _queue_delete,
    spec.Queue.Purge: _queue_purge,
    spec.Queue.Unbind: _queue_unbind,
}
