"""The second connection of a process: it publishes markers, some of which carry claims, and nothing else.

A connection that consumes never publishes: under a memory alarm RabbitMQ stops reading from one that does, its
acknowledgements included (measured: 50 messages, then nothing). So this one may hang as long as the alarm lasts, and
the feed goes on; that it is lost is no loss of the feed's, and it is made again.

One marker is on its way at a time. While the broker takes none, more would only pile up here. Claims wait for the next
one, `MOST_WAITING` at most: one more is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pika
from twisted.internet.defer import Deferred

from livepush.broker import topology
from livepush.broker.amqp import Connection
from livepush.broker.backoff import Backoff
from livepush.broker.channel import Channel
from livepush.broker.declaring import open_exchanges
from livepush.broker.envelope import MOST_CLAIMS, Kind, Marker, encode_marker, headers_of
from livepush.broker.errors import ConnectionFailed
from livepush.broker.lifeline import Lifeline
from livepush.broker.markers import Markers
from livepush.broker.names import MARKER_BEAT_KEY, marker_key

MOST_WAITING = 1_000


class Beacon:
    """Sends a process's markers.

    Args:
        reactor: timers and the time.
        connect: makes a connection, not opened yet.
        user: whose rights it has, for messages.
        process: the nonce of this process, in its markers.
        markers: is told what becomes of each.
        backoff: how long to wait between attempts.

    Attributes:
        trouble: why there is no connection; None: there is one.
    """

    def __init__(
        self,
        reactor: Any,
        connect: Callable[[], Connection],
        user: str,
        process: str,
        markers: Markers,
        backoff: Backoff,
    ) -> None:
        self.trouble: ConnectionFailed | None = None
        self._reactor, self._user, self._process = reactor, user, process
        self._markers, self._backoff = markers, backoff
        self._lifeline = Lifeline(reactor, connect, self._use, self._lose, backoff)
        self._channel: Channel | None = None
        self._on_its_way: int | None = None
        self._wanted: str | None = None
        self._claims: list[str] = []  # for the next marker

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes no messages."""
        connection = self._lifeline.connection
        return connection is not None and connection.blocked

    def start(self) -> None:
        """Begins to connect."""
        self._lifeline.start()

    def stop(self, seconds: float) -> Deferred[None]:
        """Closes the connection."""
        return self._lifeline.stop(seconds)

    def hurry(self) -> None:
        """The broker is there again: connect now."""
        self._lifeline.hurry()

    def send(self, *, beat: bool) -> None:
        """Publishes one marker, now or as soon as that is possible. A beat moves positions, others prove a binding."""
        self._wanted = MARKER_BEAT_KEY if beat else marker_key(self._process)
        self._send()

    def claim(self, claim: str) -> bool:
        """Puts a claim into the log, with the next marker; False: too many wait. One that the broker does not take is
        lost: who waits for it has a bound in time."""
        if len(self._claims) >= MOST_WAITING:
            return False
        self._claims.append(claim)
        self._send()
        return True

    def _send(self) -> None:
        if self._channel is None or self._on_its_way is not None:
            return
        if self._wanted is None and not self._claims:
            return
        now = self._reactor.seconds()
        number = self._markers.send(now)
        key, claims = self._wanted or marker_key(self._process), self._claims[:MOST_CLAIMS]
        body = encode_marker(Marker(self._process, number, tuple(claims)))
        headers = headers_of(Kind.MARKER, time.time_ns() // 1_000_000, None)
        properties = pika.BasicProperties(type=Kind.MARKER.value, headers=headers)
        if self._channel.publish(topology.DAEMON_EXCHANGE, key, body, properties):
            self._on_its_way, self._wanted = number, None
            del self._claims[: len(claims)]

    async def _use(self, connection: Connection) -> None:
        channel = await open_exchanges(connection, self._user)
        await channel.confirm(self._settle, self._return)
        connection.established()
        self._channel = channel
        self.trouble = None
        self._backoff.reset()
        self._send()

    def _settle(self, confirmed: bool) -> None:
        number, self._on_its_way = self._on_its_way, None
        if number is not None and confirmed:
            self._markers.confirmed(number, self._reactor.seconds())
        self._send()

    def _return(self) -> None:
        if self._on_its_way is not None:
            self._markers.returned(self._on_its_way)

    def _lose(self, cause: ConnectionFailed) -> None:
        self._channel = self._on_its_way = None
        self.trouble = cause
