"""What livepush has in the broker: one topic exchange, and one queue for each daemon process.

    Django --event.* control.* live.*--> exchange livepush --BINDINGS--> livepush.p.<host>.<instance>.<nonce>

The exchange is durable and comes from `broker/rabbitmq/definitions.json` or from `manage.py livepush topology`. A
process queue is exclusive and auto-delete, so it lives as long as its connection; every connection takes a new nonce,
because a broker that has not noticed yet that a connection is dead refuses its queue's name with 405.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

EXCHANGE = "livepush"
EXCHANGE_TYPE = "topic"
BINDINGS = ("event.#", "control.#", "live.#")
QUEUE_PREFIX = "livepush.p."

QUEUE_LENGTH = 50_000
QUEUE_BYTES = 256 * 1024 * 1024

_FOREIGN = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_LONGEST = 60


def process_queue(host: str, instance: str, nonce: str) -> str:
    """The name of the queue of one connection of one daemon process: at most 200 bytes, whatever the arguments.

    What is no letter, digit, `_` or `-` becomes a `-`: nothing reads the parts back.
    """
    return QUEUE_PREFIX + ".".join(_FOREIGN.sub("-", part)[:_LONGEST] or "-" for part in (host, instance, nonce))


def queue_arguments(length: int = QUEUE_LENGTH) -> dict[str, object]:
    """The bounds of a process queue. At the bound the oldest message is dropped: the ingest finds the hole.

    A policy of the broker's can only make them narrower: of two bounds RabbitMQ takes the lower.
    """
    return {"x-max-length": length, "x-max-length-bytes": QUEUE_BYTES, "x-overflow": "drop-head"}


def declare_exchange(channel: BlockingChannel) -> None:
    """Makes the exchange, or sees that it is there and of the right kind.

    Raises:
        pika.exceptions.ChannelClosedByBroker: 403 when this user may not declare, 406 when there is another exchange
            of that name.
    """
    channel.exchange_declare(EXCHANGE, exchange_type=EXCHANGE_TYPE, durable=True)
