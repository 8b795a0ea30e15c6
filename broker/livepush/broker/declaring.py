"""What a daemon asks of the broker before it can listen, and what it says when it does not get it.

    wanted                      there             missing, and the user may make it   missing, and he may not
    -----------------------     ---------------   ---------------------------------   --------------------------------
    both exchanges, the log     used as it is     made, with the log's bindings       `livepush topology` is named
    the queue of this process   (never)           made, bound                         the daemon's rights are named

A real RabbitMQ has all of it from `livepush topology`, and gives a daemon no right to make the log; the embedded one
starts empty. The bindings of a log that is there can't be seen over AMQP; a marker finds out, see `attachment`.
"""

from __future__ import annotations

import secrets
import socket

from livepush.broker import topology
from livepush.broker.amqp import Connection
from livepush.broker.channel import Channel
from livepush.broker.deliveries import Deliver
from livepush.broker.errors import ChannelRefused, ConnectionFailed
from livepush.broker.feedsettings import FeedSettings

REMEDY = "run `manage.py livepush topology` with a user who may"


async def open_exchanges(connection: Connection, user: str) -> Channel:
    """A channel, after it is sure that both exchanges are there.

    Raises:
        ConnectionFailed: one is missing, and may not be made.
    """
    channel = await connection.channel()
    for name in topology.EXCHANGES:
        channel = await _open_exchange(connection, channel, name, user)
    return channel


async def _open_exchange(connection: Connection, channel: Channel, name: str, user: str) -> Channel:
    kind = topology.EXCHANGE_TYPE
    try:
        await channel.declare_exchange(name, kind, passive=True)
        return channel
    except ChannelRefused as refused:
        if refused.code != 404:
            raise ConnectionFailed(f"no use of exchange {name!r}: {refused.code} {refused.text}") from None
    channel = await connection.channel()
    try:
        await channel.declare_exchange(name, kind, passive=False)
        return channel
    except ChannelRefused as refused:
        cause = f"there is no exchange {name!r}, and user {user!r} may not make it ({refused.code} {refused.text})"
        raise ConnectionFailed(cause, REMEDY) from None


async def open_log(connection: Connection, settings: FeedSettings) -> Channel:
    """A channel for the log reader, after it is sure that the log is there.

    Raises:
        ConnectionFailed: it is missing, and may not be made; or it is there, and its node is not.
    """
    name, arguments = topology.LOG, topology.log_arguments(settings.log_seconds, settings.log_segment_bytes)
    channel = await connection.channel()
    try:
        await channel.declare_log(name, arguments, passive=True)
        return channel
    except ChannelRefused as refused:
        if refused.code != 404 or "home node" in refused.text:
            raise _no_log(refused) from None
    channel = await connection.channel()
    try:
        await channel.declare_log(name, arguments, passive=False)
        for exchange, key in topology.LOG_BINDINGS:
            await channel.bind(name, exchange, key)
        return channel
    except ChannelRefused as refused:
        user = settings.url.user
        cause = f"there is no log {name!r}, and user {user!r} may not make it ({refused.code} {refused.text})"
        raise ConnectionFailed(cause, REMEDY) from None


async def read_log(
    channel: Channel, prefetch: int, offset: int | str, deliver: Deliver, foreign: Deliver | None = None
) -> None:
    """Consumes the log from an offset on: a number, an interval such as `360s`, or `last`.

    Args:
        channel: of `open_log`, or another.
        prefetch: the credit that acknowledgements give back.
        offset: the record there is the first to come.
        deliver: gets the records.
        foreign: gets what daemons have written; None: `deliver` gets it too.

    Raises:
        ConnectionFailed: the broker refuses it. A stream that is only just starting does that too.
    """
    try:
        await channel.consume(topology.LOG, prefetch, deliver, foreign, {"x-stream-offset": offset})
    except ChannelRefused as refused:
        raise _no_log(refused) from None


async def open_queue(channel: Channel, settings: FeedSettings, deliver: Deliver) -> str:
    """A queue of this process with its bindings, and its consumer. Returns its name.

    Raises:
        ConnectionFailed: the user may not have one.
    """
    queue = topology.process_queue(socket.gethostname(), settings.instance, secrets.token_hex(6))
    try:
        await channel.declare_process_queue(queue, topology.queue_arguments(settings.queue_length))
        for key in topology.BINDINGS:
            await channel.bind(queue, topology.EXCHANGE, key)
        await channel.consume(queue, settings.prefetch, deliver)
    except ChannelRefused as refused:
        raise ConnectionFailed(f"no queue for this process: {refused.code} {refused.text}", _rights(settings)) from None
    return queue


def _no_log(refused: ChannelRefused) -> ConnectionFailed:
    if refused.code == 403:
        remedy = "the daemon's user needs the rights of broker/rabbitmq/definitions.json"
    else:
        remedy = "a stream takes a second to start; else look at the broker's log"
    return ConnectionFailed(f"the log {topology.LOG!r} can't be read: {refused.code} {refused.text}", remedy)


def _rights(settings: FeedSettings) -> str:
    return f"user {settings.url.user!r} needs the daemon's rights of broker/rabbitmq/definitions.json"
