"""Who a browser's cookies or ticket belong to: asked from the reactor, answered by a `Reader` in threads of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from livepush.daemon.entitlement import ChannelRule, Snapshot
from livepush.daemon.errors import Busy, IdentityUnavailable
from livepush.daemon.lookups import Lookups
from livepush.daemon.pool import Pool
from livepush.daemon.reader import Question, Reader, Wish, claim_of, same_visitor, with_connections
from livepush.daemon.redemption import Redemption

QUIET_SECONDS = 10.0
"""At most one failure of the database is logged in this time: all clients come back when it is away."""

_log = Logger()
T = TypeVar("T")
Q = TypeVar("Q", bound=Hashable)


class Identifier:
    """Asks Django in threads of its own, from the reactor's thread; the bounds are those of `Lookups`.

    Half of the threads at most work for logins, and half for object-level rules, which are the site's own code, so that
    neither waits for the other.

    Args:
        reader: asks Django.
        reactor: that the answers are given in.

    Attributes:
        settings: the reader's.
        logins: look-ups of who a visitor is.
        rules: object-level rules that are asked.
        redemption: of tickets; None: none is good here.
        farewells: what is asked of logins that have ended.
    """

    def __init__(self, reader: Reader, reactor: Any) -> None:
        self.settings, self._reactor = reader.settings, reactor
        settings, jobs = reader.settings, max(1, reader.settings.threads // 2)
        self._pool = Pool("livepush-django", settings.threads, 2 * jobs + 1, reactor)
        self.logins: Lookups[Question, Snapshot | None] = Lookups(
            reactor, self._pool, partial(_connected, reader.look), settings.queue, jobs
        )
        self.rules: Lookups[Wish, bool] = Lookups(
            reactor, self._pool, partial(_connected, reader.judge), settings.queue, jobs
        )
        self.farewells: Lookups[Snapshot, bool] = Lookups(
            reactor, self._pool, partial(_connected, reader.may_return), settings.queue, 1
        )
        self._quiet_until = 0.0
        self.redemption: Redemption | None = None

    @property
    def is_full(self) -> bool:
        """Whether one more visitor would be refused: too many wait to be looked up."""
        return self.logins.is_full

    @property
    def room(self) -> int:
        """How many look-ups can be under way at once."""
        return min(self.logins.room, self.rules.room)

    def start(self) -> None:
        """Starts the pool."""
        self._pool.start()

    def stop(self) -> Deferred[None]:
        """Ends the pool; fires when its threads have ended, or after 2 s, which leaves a stuck one behind."""
        return self._pool.stop()

    async def identify(self, cookies: str) -> Snapshot | None:
        """The user of a Cookie header.

        Returns:
            None: nobody who may connect.

        Raises:
            Busy: too many are waiting.
            IdentityUnavailable: the database, or what else it takes, failed; logged.
        """
        key = self.settings.sessions.key_of(cookies)
        if not key and not self.settings.anonymous:
            return None  # and no thread is asked
        return await self._ask(self.logins.ask(Question(key)))

    async def redeem(self, ticket: str) -> Snapshot | None:
        """The user of a ticket, which is used up by that.

        Returns:
            None: it is nobody's, was shown before, or is too old; or its user may not log in, or has another password.

        Raises:
            Busy: too many are waiting, or the broker does not show the claim on it.
            IdentityUnavailable: as for `identify`.
        """
        known = claim_of(ticket)
        if known is None or self.redemption is None:
            return None
        claim, question = known
        return await self._ask(self.logins.ask(question)) if await self.redemption.take(claim) else None

    def binding(self, cookies: str) -> str:
        """The hash of the session cookie, so that what one session opened no other can use; "": there is no cookie."""
        key = self.settings.sessions.key_of(cookies)
        return hashlib.sha256(key.encode()).hexdigest() if key else ""

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """The same visitor as he is now; None: his login has ended.

        Raises:
            Busy: too many are waiting.
            IdentityUnavailable: as for `identify`.
        """
        return same_visitor(await self._ask(self.logins.ask(Question.about(snapshot))), snapshot)

    async def may_return(self, snapshot: Snapshot) -> bool:
        """Of a login that has ended: whether the browser may hold a newer cookie of it.

        Raises:
            Busy: too many are waiting.
            IdentityUnavailable: as for `identify`.
        """
        return await self._ask(self.farewells.ask(snapshot))

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """The object-level rule of a channel's declaration, asked of a fresh user.

        Raises:
            Busy: too many are waiting.
            IdentityUnavailable: the database failed; logged.
        """
        return await self._ask(self.rules.ask(Wish(snapshot, rule, channel)))

    async def _ask(self, asked: Coroutine[Deferred[Any], Any, T]) -> T:
        try:
            return await asked
        except Busy:
            raise
        except Exception as error:
            # The boundary to Django, and to the site's backends: the client tries again, whatever it was.
            if self._reactor.seconds() >= self._quiet_until:
                self._quiet_until = self._reactor.seconds() + QUIET_SECONDS
                _log.failure("Who a user is could not be found out.")
            raise IdentityUnavailable(type(error).__name__) from None


def _connected(look: Callable[[Sequence[Q]], T], batch: Sequence[Q]) -> T:
    return with_connections(lambda: look(batch))
