"""Who a connection's user is, how sure that is, and what it entitles to. No transport, no frames.

    fresh        the snapshot is not older than the last control message that concerns the user: its grants hold
    doubtful     it is, or the connection is suspended. What was being decided is decided again by the next snapshot

Every answer of the thread pool is compared with the control messages that came while it was on its way, here and
nowhere else: an outdated one is thrown away and asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livepush.daemon.endings import Endings
from livepush.daemon.entitlement import Directory, Snapshot
from livepush.daemon.epochs import Epochs
from livepush.daemon.errors import Busy, IdentityUnavailable, LoggedOut, NotReady
from livepush.daemon.history import WAIT, Answer
from livepush.daemon.interfaces import Identity
from livepush.daemon.position import Position
from livepush.daemon.remembered import Remembered
from livepush.daemon.suspension import QUEUED_SECONDS, SUSPENDED_SECONDS
from livepush.daemon.waitingroom import WaitingRoom

WAIT_SECONDS = 5.0
"""How long a request waits for the log reader to come as far as its positions, or for the feed to be ready."""

Audiences = dict[str, str]
"""Channels that a user may listen to, each with his audience."""


class Process(Protocol):
    """What this process knows; see `livepush.daemon.hub.Hub`."""

    directory: Directory
    clock: IReactorTime
    epochs: Epochs
    endings: Endings
    remembered: Remembered
    waiting: WaitingRoom

    def answer(self, channel: str, since: str | None, after: int) -> Answer:
        """What is to be replayed of a channel to who has a position, or else has heard up to a feed index."""


class Standing:
    """The standing of one connection.

    Attributes:
        snapshot: the last one that was fresh when it came; None before the first.
        suspended: until a fresh one is there nothing is decided.
    """

    __slots__ = (
        "_deadline",
        "_ended",
        "_epoch",
        "_fresh",
        "_give_up",
        "_identity",
        "_latest",
        "_process",
        "_waiting",
        "snapshot",
        "suspended",
    )

    def __init__(self, process: Process, identity: Identity) -> None:
        self._process, self._identity = process, identity
        self.snapshot: Snapshot | None = None
        self.suspended = self._ended = False
        self._epoch = 0  # of the snapshot
        self._fresh: Deferred[None] | None = None  # fires at the end of the suspension, for the request under way
        self._waiting: Deferred[bool] | None = None  # for the feed
        self._deadline: IDelayedCall | None = None  # of the suspension
        self._latest = 0.0  # moment for it
        self._give_up: Callable[[], None] = lambda: None

    async def identify(self, cookies: str) -> Snapshot:
        """Finds out whose Cookie header that is.

        Raises:
            LoggedOut: nobody's, or his who was told to go meanwhile.
            Busy, IdentityUnavailable: as `Identity`.
        """
        process, ended = self._process, self._process.endings.count
        binding = self._identity.binding(cookies)
        known = process.remembered.get(binding)
        if known is not None and process.endings.why(known[0], ended, process.clock.seconds()) is None:
            self.snapshot, self._epoch = known
            return known[0]
        while True:
            epoch = process.epochs.count
            snapshot = await self._identity.identify(cookies)
            if snapshot is None:
                raise LoggedOut
            why = process.endings.why(snapshot, ended, process.clock.seconds())
            if why is not None:
                raise LoggedOut(why)
            if self._ended or not process.epochs.is_stale(snapshot.user, epoch):
                process.remembered.put(binding, snapshot, epoch)
                self.snapshot, self._epoch = snapshot, epoch
                return snapshot

    def may_show_ticket(self, cookies: str) -> bool:
        """Whether who has such a Cookie header, and is nobody by it, may still say who he is: he has no session."""
        return not self._identity.binding(cookies)

    async def redeem(self, ticket: str) -> Snapshot:
        """Finds out whose ticket that is; it is used up.

        Raises:
            LoggedOut: nobody's, or his who was told to go meanwhile.
            Busy, IdentityUnavailable: as `Identity`.
        """
        process, ended = self._process, self._process.endings.count
        epoch = process.epochs.count
        snapshot = await self._identity.redeem(ticket)
        why = None if snapshot is None else process.endings.why(snapshot, ended, process.clock.seconds())
        if snapshot is None or why is not None:
            raise LoggedOut(why or "the ticket is not good, or not any more")
        self.snapshot, self._epoch = snapshot, epoch  # one that is outdated is made anew before anything is granted
        return snapshot

    async def identify_anew(self, wanted: Callable[[], list[str]]) -> Audiences | None:
        """Finds out who he is now.

        Returns:
            Which of the wanted channels he may listen to, in this very step; None: the connection has ended.

        Raises:
            LoggedOut: his login has ended.
            Busy, IdentityUnavailable: as `Identity`.
        """
        while not self._ended:
            self._hurry()
            epoch, channels = self._process.epochs.count, wanted()
            snapshot = await self._identity.reidentify(self.known())
            grants = {} if snapshot is None else await self._permitted(snapshot, channels)
            if self._ended or self._process.epochs.is_stale(self.known().user, epoch):
                self._be_patient()
                continue
            if snapshot is None:
                self._process.remembered.forget(self.known().user)
                raise LoggedOut
            if snapshot != self.snapshot:
                self._process.remembered.forget(snapshot.user)
            if channels == wanted():
                self.snapshot, self._epoch = snapshot, epoch
                return grants
        return None

    async def may_return(self) -> bool:
        """Whether a login that has ended may go on by a cookie that only the browser has."""
        try:
            return await self._identity.may_return(self.known())
        except (Busy, IdentityUnavailable):
            return True  # who comes back is looked at anew

    def known(self) -> Snapshot:
        """The snapshot, once there is one."""
        assert self.snapshot is not None, "requests are handled only after the user is known"
        return self.snapshot

    def suspend(self, give_up: Callable[[], None]) -> None:
        """Nothing is decided any more until a fresh snapshot is there.

        Args:
            give_up: called when none is: `SUSPENDED_SECONDS` after the identification has begun and got no answer, or
                after `QUEUED_SECONDS` of all.
        """

        self.suspended, self._give_up = True, give_up
        self._latest = self._process.clock.seconds() + QUEUED_SECONDS
        self._set_deadline(self._latest)

    def _hurry(self) -> None:
        """The suspension's answer is asked for. One that was refused, and is asked for again, gets no more time."""
        if self._deadline is not None:
            self._set_deadline(min(self._process.clock.seconds() + SUSPENDED_SECONDS, self._deadline.getTime()))

    def _be_patient(self) -> None:
        """There was an answer. If it is outdated, the next one gets its time anew."""
        if self._deadline is not None:
            self._set_deadline(self._latest)

    def _set_deadline(self, when: float) -> None:
        self._stop_deadline()
        clock = self._process.clock
        self._deadline = clock.callLater(max(0.0, when - clock.seconds()), self._end_late)

    def _stop_deadline(self) -> None:
        # A call that is moved to an earlier moment costs the reactor a search, a new one does not.
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_late(self) -> None:
        self._deadline = None
        self._give_up()

    def readmit(self) -> None:
        """Ends the suspension; the request that waits for it goes on in this step."""
        self.suspended = False
        self._stop_deadline()
        fresh, self._fresh = self._fresh, None
        if fresh is not None:
            fresh.callback(None)

    def end(self) -> None:
        """The connection has ended: nothing is waited for any more."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()
        self.readmit()

    async def settle(
        self,
        named: Iterable[str] | None,
        since: Callable[[str], str | None],
        after: Callable[[str], int],
        below: str | None = None,
    ) -> tuple[Audiences, dict[str, Answer]] | None:
        """What is granted by a fresh snapshot, and what is to be replayed; true in the step in which it returns.

        Waits, 5 s at most, until the log reader has come as far as the positions; what it has not reached by then is
        still `WAIT`.

        Args:
            named: the channels wanted; None: the declared ones.
            since: the position of each.
            after: the feed index of each channel, where it has none, in the step in which it is asked.
            below: of the declared channels only this one and those below it.

        Returns:
            The audiences of what is granted, and the answers of all that was wanted; None: the connection has ended.

        Raises:
            LoggedOut: his login has ended.
            NotReady: the feed was not ready in time.
            Busy, IdentityUnavailable: as `Identity`.
        """
        process, until = self._process, self._process.clock.seconds() + WAIT_SECONDS
        while not self._ended:
            if self.suspended:
                self._fresh = Deferred()
                await self._fresh
                continue
            if process.epochs.is_stale(self.known().user, self._epoch):
                await self.identify_anew(list)
                continue
            snapshot = self.known()
            wanted = list(_declared(process.directory, snapshot, below) if named is None else named)
            grants = await self._permitted(snapshot, wanted)
            while not self._ended and not self._is_doubtful(snapshot):
                answers = {channel: process.answer(channel, since(channel), after(channel)) for channel in wanted}
                behind = [channel for channel in grants if answers[channel] is WAIT]
                late = process.clock.seconds() >= until
                if process.waiting.is_ready() and (late or not behind):
                    return grants, answers
                if late:
                    raise NotReady
                positions = [Position.parse(since(channel) or "") for channel in behind]
                offset = max((each.mark.offset for each in positions if each is not None), default=-1)
                await self._wait(offset, until)
        return None

    async def _wait(self, offset: int, until: float) -> None:
        self._waiting = self._process.waiting.wait(offset, until - self._process.clock.seconds())
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _is_doubtful(self, snapshot: Snapshot) -> bool:
        if self.suspended or snapshot is not self.snapshot:
            return True
        return self._process.epochs.is_stale(snapshot.user, self._epoch)

    async def _permitted(self, snapshot: Snapshot, channels: Iterable[str]) -> Audiences:
        """Those whose declaration, and object-level rule where there is one, say yes."""
        grants = {}
        for channel in channels:
            grant = self._process.directory.grant(snapshot, channel)
            if grant is None:
                continue
            if grant.guard is None or await self._identity.allows(snapshot, grant.guard, channel):
                grants[channel] = grant.audience
        return grants


def _declared(directory: Directory, snapshot: Snapshot, below: str | None) -> Iterable[str]:
    names = directory.declared(snapshot)
    return names if below is None else [name for name in names if f"{name}.".startswith(f"{below}.")]
