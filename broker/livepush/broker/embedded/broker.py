"""The broker itself: one virtual host, one user, and the connections."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from livepush.broker.embedded.connection import Connection
from livepush.broker.embedded.limits import Ledger, Limits
from livepush.broker.embedded.output import Turn
from livepush.broker.embedded.vhost import VirtualHost

if TYPE_CHECKING:
    from twisted.internet.protocol import Protocol


class EmbeddedBroker(Factory):
    """To be listened with, on loopback: AMQP's PLAIN login goes in the clear.

    Args:
        user, password: the one account.
        clock: usually the reactor.
        heartbeat: seconds, as suggested to clients; theirs counts, 0 is none.
        limits: see `Limits`.

    Attributes:
        refused: messages that no queue kept because `Limits.held_bytes` was reached.
        turn: in which writes are collected.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self, user: str, password: str, clock: IReactorTime, heartbeat: int = 60, limits: Limits | None = None
    ) -> None:
        self.user, self.clock, self.heartbeat = user, clock, heartbeat
        self.limits = limits or Limits()
        self.ledger = Ledger(self.limits.held_bytes)
        self.vhost = VirtualHost(self.limits, self.ledger, clock)
        self.refused = 0
        self.turn = Turn()
        self._password = password
        self._connections: set[Connection] = set()
        self._closed: list[Deferred[None]] = []
        self._closing = False

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A connection, or None (it is closed at once) over the bound and after `close`."""
        if self._closing or len(self._connections) >= self.limits.connections:
            self._log.warn("AMQP connection refused: there are {count}", count=len(self._connections))
            return None
        connection = Connection(self)
        connection.factory = self
        self._connections.add(connection)
        return connection

    def admits(self, user: bytes, password: bytes) -> bool:
        """Whether these are the account's, in a time that does not tell how nearly."""
        right_user = compare_digest(user, self.user.encode())
        return compare_digest(password, self._password.encode()) and right_user

    def close(self) -> Deferred[None]:
        """Tells all clients that it ends (320) and fires when they are gone, at most `Limits.closing_seconds` later.

        The caller stops listening first.
        """
        self._closing = True
        done: Deferred[None] = Deferred()
        self._closed.append(done)
        for connection in list(self._connections):
            connection.force()
        self._tell_closed()
        return done

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.turn.forget(connection)
        self._tell_closed()

    def _tell_closed(self) -> None:
        if self._closing and not self._connections:
            waiting, self._closed = self._closed, []
            for done in waiting:
                done.callback(None)
