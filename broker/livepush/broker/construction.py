"""Makes what livepush has in a broker, part by part, and tells what was made and what was there.

    passive declaration   then                                     the part
    -------------------   --------------------------------------   ------------------------------------------------
    404                   declared; 403: this user may not         made; or `Unbuildable`
    ok                    declared as well; 406: it is different    there, and right; or `Unbuildable`
                          403: this user may not                   there, not checked: it may be a different one

What is bound to the log can't be asked for, so the log's bindings are made in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from livepush.broker.topology import (
    EXCHANGE_TYPE,
    EXCHANGES,
    LOG,
    LOG_BINDINGS,
    LOG_SECONDS,
    LOG_SEGMENT_BYTES,
    log_arguments,
)

if TYPE_CHECKING:
    from pika import BlockingConnection
    from pika.adapters.blocking_connection import BlockingChannel

ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED = 403, 404, 406

_NODE_DOWN = "home node"  # RabbitMQ's words of a stream that is there and not running

Act = Callable[["BlockingChannel"], object]


class Outcome(StrEnum):
    """What became of a part."""

    MADE = "made"
    THERE = "there"
    BOUND = "bound"  # now, if it was not before: that can't be asked
    UNSEEN = "not checked"  # this user may not declare it, so he can't see whether it is right


@dataclass(frozen=True, slots=True)
class Part:
    """An exchange, the log or a binding of it."""

    what: str
    outcome: Outcome


class Unbuildable(Exception):
    """A part can't be made, or is another than it should be.

    Attributes:
        what: its kind and name.
        code, text: the broker's refusal.
        missing: there is none of this name.
    """

    def __init__(self, what: str, code: int, text: str, missing: bool) -> None:
        super().__init__(f"{what}: {code} {text}")
        self.what, self.code, self.text, self.missing = what, code, text, missing

    @property
    def starting(self) -> bool:
        """Whether it is the log, which is there and whose node is not up, or not yet."""
        return self.code == NOT_FOUND and _NODE_DOWN in self.text


def build(
    connection: BlockingConnection, seconds: int = LOG_SECONDS, segment_bytes: int = LOG_SEGMENT_BYTES
) -> Iterator[Part]:
    """Makes the parts that are missing, in an order in which nothing is bound before it is there.

    Args:
        seconds, segment_bytes: of the log, see `log_arguments`.

    Raises:
        Unbuildable: the parts told before it are made.
        pika.exceptions.AMQPError: the connection is lost.
    """
    for exchange in EXCHANGES:
        yield _build(connection, f"exchange {exchange!r}", partial(_exchange, exchange))
    yield _build(connection, f"log {LOG!r}", partial(_log, log_arguments(seconds, segment_bytes)))
    for exchange, key in LOG_BINDINGS:
        refused = _try(connection, partial(_bind, exchange, key))
        what = f"log {LOG!r} to {key} of exchange {exchange!r}"
        if refused and refused[0] != ACCESS_REFUSED:
            raise Unbuildable(what, *refused, missing=False)
        yield Part(what, Outcome.UNSEEN if refused else Outcome.BOUND)


def _build(connection: BlockingConnection, what: str, declare: Callable[[bool, BlockingChannel], object]) -> Part:
    absent = _try(connection, partial(declare, True))
    if absent and (absent[0] != NOT_FOUND or _NODE_DOWN in absent[1]):
        raise Unbuildable(what, *absent, missing=False)
    refused = _try(connection, partial(declare, False))
    if refused and (absent or refused[0] != ACCESS_REFUSED):
        raise Unbuildable(what, *refused, missing=absent is not None)
    return Part(what, Outcome.MADE if absent else Outcome.UNSEEN if refused else Outcome.THERE)


def _exchange(name: str, passive: bool, channel: BlockingChannel) -> None:
    channel.exchange_declare(name, EXCHANGE_TYPE, passive=passive, durable=True)


def _log(arguments: dict[str, object], passive: bool, channel: BlockingChannel) -> None:
    channel.queue_declare(LOG, passive=passive, durable=True, arguments=arguments)


def _bind(exchange: str, key: str, channel: BlockingChannel) -> None:
    channel.queue_bind(LOG, exchange, key)


def _try(connection: BlockingConnection, act: Act) -> tuple[int, str] | None:
    """Does it on a channel of its own, which a refusal ends: its code and text."""
    from pika.exceptions import ChannelClosedByBroker

    channel = connection.channel()
    try:
        act(channel)
    except ChannelClosedByBroker as error:
        return error.reply_code, error.reply_text
    channel.close()
    return None
