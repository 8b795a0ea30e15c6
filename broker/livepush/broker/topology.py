"""What livepush has in the broker: two topic exchanges, one log, and one queue for each daemon process.

    Django --event.* control.* live.*--> exchange livepush ---+--BINDINGS-----> livepush.p.<host>.<instance>.<nonce>
                                                              |
                                                              +--event control-> livepush.log, a stream
    daemon --marker.* live.*--> exchange livepush.daemon --------marker-------->

    the relay of the outbox: control.outbox of exchange livepush --> livepush.relay.<host>.<nonce>

Exchanges and log are durable and come from `broker/rabbitmq/definitions.json` or from `manage.py livepush topology`.
The other queues are exclusive and auto-delete, so they live as long as their connection; every connection takes a new
nonce, because a broker that has not noticed yet that a connection is dead refuses its queue's name with 405.

The daemon has an exchange of its own because a right to write to `livepush` would let its user forge events, whatever
his rights on keys are: RabbitMQ checks neither the keys of dead letters nor those of CC and BCC headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from livepush.broker.names import CONTROL_OUTBOX_KEY

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

EXCHANGE = "livepush"
DAEMON_EXCHANGE = "livepush.daemon"
EXCHANGES = (EXCHANGE, DAEMON_EXCHANGE)
EXCHANGE_TYPE = "topic"
BINDINGS = ("event.#", "control.#", "live.#")
QUEUE_PREFIX = "livepush.p."

LOG = "livepush.log"
LOG_BINDINGS = ((EXCHANGE, "event.#"), (EXCHANGE, "control.#"), (DAEMON_EXCHANGE, "marker.#"))
LOG_SECONDS = 600
LOG_SEGMENT_BYTES = 5_000_000
CHUNK_SECONDS = 60
"""How much further back than its memory a process that starts reads the log: streams keep whole chunks."""

RELAY_PREFIX = "livepush.relay."
RELAY_BINDING = CONTROL_OUTBOX_KEY

QUEUE_LENGTH = 50_000
QUEUE_BYTES = 256 * 1024 * 1024

_FOREIGN = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_LONGEST = 60


def process_queue(host: str, instance: str, nonce: str) -> str:
    """The name of the queue of one connection of one daemon process: at most 200 bytes, whatever the arguments.

    What is no letter, digit, `_` or `-` becomes a `-`: nothing reads the parts back.
    """
    return QUEUE_PREFIX + _words(host, instance, nonce)


def relay_queue(host: str, nonce: str) -> str:
    """The name of the wake-up queue of one connection of a relay, made like that of a process queue."""
    return RELAY_PREFIX + _words(host, nonce)


def queue_arguments(length: int = QUEUE_LENGTH) -> dict[str, object]:
    """The bounds of a process queue. At the bound the oldest message is dropped: the ingest finds the hole.

    A policy of the broker's can only make them narrower: of two bounds RabbitMQ takes the lower.
    """
    return {"x-max-length": length, "x-max-length-bytes": QUEUE_BYTES, "x-overflow": "drop-head"}


def relay_arguments() -> dict[str, object]:
    """The bound of a relay's wake-up queue: one message says all that many would."""
    return {"x-max-length": 1, "x-overflow": "drop-head"}


def log_arguments(seconds: int = LOG_SECONDS, segment_bytes: int = LOG_SEGMENT_BYTES) -> dict[str, object]:
    """The arguments of the log. They are part of it: a declaration with others is refused with 406.

    Args:
        seconds: a record is kept at least so long; longer than a daemon's ring, or its boot finds too little.
        segment_bytes: the log is cut off by whole segments of this size, and the youngest is never cut off.
    """
    return {
        "x-queue-type": "stream",
        "x-max-age": f"{seconds}s",
        "x-stream-max-segment-size-bytes": segment_bytes,
    }


def declare(channel: BlockingChannel, seconds: int = LOG_SECONDS, segment_bytes: int = LOG_SEGMENT_BYTES) -> None:
    """Makes exchanges, log and the log's bindings, or sees that they are there and of the right kind.

    Raises:
        pika.exceptions.ChannelClosedByBroker: 403 when this user may not declare, 406 when there is another exchange
            or queue of that name, or the log has other arguments.
    """
    for exchange in EXCHANGES:
        channel.exchange_declare(exchange, exchange_type=EXCHANGE_TYPE, durable=True)
    channel.queue_declare(LOG, durable=True, arguments=log_arguments(seconds, segment_bytes))
    for exchange, key in LOG_BINDINGS:
        channel.queue_bind(LOG, exchange, key)


def _words(*parts: str) -> str:
    return ".".join(_FOREIGN.sub("-", part)[:_LONGEST] or "-" for part in parts)
