"""Who else is here: what connections are told of the channels that declare `presence`.

The registry (`registry`) knows who is on which channel over all processes; this module tells it what the connections of
this process take and leave, asks it what has changed, and tells those connections whose user may know. All of that is
done in *rounds*, one after the other: soon after a connection has come or gone, else each `PULSE_SECONDS`.

    out       the registry does not know this process, or not surely what it holds: a round begins with all its places
    in        a round tells it what has changed here, and asks what has changed there
    lost      it could not be asked for `PATIENCE_SECONDS`: connections are told that nobody knows who is here. The
              rounds go on, and the first that succeeds tells everybody the whole list
    stopped   nothing is told any more; the places stay until this process's time to live is over, so that those whom a
              restart sends to another process are seen to stay

A connection is told the whole list when it comes to a channel, and then who joined and who left, as long as it can be
shown that it has the list that the change is of (by its revision); else the whole list again. Nothing of this waits for
a connection that does not read, whose user is being looked up, or whose channels or rights have changed since they were
seen here: it is told the whole list, if it still may know it, when that is over. So there is no queue here, and nothing
to lose: polling a number each second replaces a subscription in Redis, which may lose what it should tell without
anybody seeing it.

Bounds: one round at a time; in each `AT_ONCE` connections that came or went, and as many that are told the whole list,
fewer where they have many channels (`CHANNELS_AT_ONCE`); a roll with more users than `PresenceSettings.users` is told
as a number; rounds are so far apart that a tenth of the reactor's time goes into them.

This module is past 400 lines because what a round sees and whom it tells are read together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.broker.presencestore import member_of
from livepush.daemon.attendance import Attendance
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import Directory
from livepush.daemon.interfaces import Encoder
from livepush.daemon.outbound import Frame
from livepush.daemon.registry import ANYWHERE, NotEnrolled, Place, Registry, RegistryUnavailable, Roll
from livepush.daemon.rollcall import change, whole

PULSE_SECONDS = 1.0
SOON_SECONDS = 0.1
PATIENCE_SECONDS = 5.0
REPEAT_SECONDS = 60.0
"""A failure that goes on is logged at most so often."""

SHARE = 10
"""Telling may take one part in so many of the time."""

LONGEST_SECONDS = 2.0
"""So long after a round the next one comes in any case: its sign of life must be in time (`LIVEPUSH_PRESENCE_TTL`)."""

AT_ONCE = 1000
"""So many connections are seen, and so many told the whole list, in one round: 50 ms in which nothing else is done."""

CHANNELS_AT_ONCE = 5 * AT_ONCE
"""As many channels of theirs: a client may have a hundred, of names that it makes up where a pattern lets it."""

_UNTOLD = -1
_UNKNOWN = -2
"""Revisions that no roll has: what was told to a connection that was told nothing yet, or that nobody knows."""


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """How presence is kept.

    Attributes:
        grace_seconds: that a user counts as here after his last connection has gone.
        users: of one channel that are told by name; of more only how many they are.
    """

    grace_seconds: float = 5.0
    users: int = 1000


class Push(Protocol):
    """What writes to connections; see `livepush.daemon.hub.Hub`."""

    def push(self, members: Iterable[Connection], frame: Frame) -> None:
        """A frame for some connections, in this turn."""

    def flush(self) -> None:
        """Writes what this turn has."""


class Phase(Enum):
    """Where it stands with the registry; see the table above."""

    OUT = auto()
    IN = auto()
    LOST = auto()
    STOPPED = auto()


class Presence:
    """The presence of one process.

    Args:
        registry: of all processes.
        directory: which channels declare it.
        push: writes to connections.
        clock: rounds.
        settings: bounds.
        about: what is told of this process to who asks (`livepush.django.stats`).
        jitter: a number from 0 to 1, for the spread of rounds after a failure.

    Attributes:
        phase: where it stands.
        rounds: ended without a failure.
        failures: rounds that failed.
    """

    def __init__(
        self,
        registry: Registry,
        directory: Directory,
        push: Push,
        clock: IReactorTime,
        settings: PresenceSettings | None = None,
        about: Callable[[], Mapping[str, object]] = dict,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._registry, self._directory, self._push = registry, directory, push
        self._clock, self._about, self._jitter = clock, about, jitter
        self._settings = settings or PresenceSettings()
        self.phase = Phase.STOPPED
        self.rounds = self.failures = 0
        self._attendance = Attendance(self._settings.grace_seconds)
        self._moved: dict[Connection, None] = {}
        self._places: dict[Connection, frozenset[Place]] = {}
        self._told: dict[str, dict[Connection, int]] = {}  # by channel: the revision that each listener has
        self._watching: dict[Connection, dict[str, None]] = {}
        self._behind: dict[Connection, None] = {}  # who may not have the list of now
        self._unheard = False  # more of them than one round looks at
        self._rolls: dict[str, Roll] = {}  # of the channels that somebody here watches
        self._revision = 0
        self._not_before = 0.0  # moment of the next round
        self._failing_since: float | None = None
        self._said: tuple[str, float] | None = None
        self._timer: IDelayedCall | None = None
        self._round_under_way: Deferred[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins with the first round."""
        self.phase = Phase.OUT
        self._schedule(0.0)

    def stop(self) -> Deferred[None]:
        """Ends; fires when nothing is asked any more. To be called before connections are ended."""
        self.phase = Phase.STOPPED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._round_under_way is not None:
            self._round_under_way.cancel()
        self._moved.clear()
        return Deferred.fromCoroutine(self._registry.close())

    def look(self, connection: Connection, afresh: Iterable[str] = ()) -> None:
        """A connection has other channels, or its user other rights, or it has ended.

        Args:
            connection: which one.
            afresh: channels of which it has no list any more, whatever it was told.
        """
        if self.phase is Phase.STOPPED:
            return
        for channel in afresh:
            told = self._told.get(channel)
            if told is not None and connection in told:
                told[connection] = _UNTOLD
                self._behind[connection] = None
        self._moved[connection] = None
        self._schedule(SOON_SECONDS)

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _schedule(self, seconds: float) -> None:
        """The next round comes then, or earlier where one is due earlier."""
        if self.phase is Phase.STOPPED or self._round_under_way is not None:
            return  # the end of the round looks for what has come meanwhile
        now = self._clock.seconds()
        at = max(now + seconds, self._not_before)
        if self._timer is not None:
            if self._timer.getTime() <= at:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(at - now, self._begin)

    def _begin(self) -> None:
        self._timer = None
        under_way = self._round_under_way = Deferred.fromCoroutine(self._round())
        under_way.addErrback(self._broke)
        under_way.addCallback(self._ended)

    def _broke(self, failure: Failure) -> None:
        if self.phase is not Phase.STOPPED:  # else it was cancelled
            self._log.failure("A round of presence broke; the next one comes.", failure)
        self._leave_phase(Phase.OUT)

    def _ended(self, _: None) -> None:
        self._round_under_way = None
        self._schedule(SOON_SECONDS if self._moved or self._unheard else PULSE_SECONDS)

    async def _round(self) -> None:
        begun = self._clock.seconds()
        self._see()
        busy = self._clock.seconds() - begun
        self._not_before = begun + PULSE_SECONDS * (1 + self._jitter())  # unless it succeeds
        before: Mapping[str, Roll] = {}
        try:
            before = await self._ask()
        except NotEnrolled:
            if self.phase is Phase.IN:
                self._not_before = 0.0  # it was forgotten, and comes back at once
            self._leave_phase(Phase.OUT)
            return
        except RegistryUnavailable as error:
            self._fail(error.why)
        else:
            self._not_before = 0.0
            self._succeed()
        if self.phase is Phase.STOPPED:
            return
        begun = self._clock.seconds()
        self._tell(before)
        busy += self._clock.seconds() - begun
        self._not_before = max(self._not_before, begun + min(LONGEST_SECONDS, SHARE * busy))

    def _leave_phase(self, phase: Phase) -> None:
        """Goes on to a phase from that of being in; those that are lost or stopped stay so."""
        if self.phase is Phase.IN:
            self.phase = phase

    async def _ask(self) -> Mapping[str, Roll]:
        """Tells the registry, and asks it; returns what was known before of the channels that are known anew."""
        now = self._clock.seconds()
        if self.phase is not Phase.IN:
            await self._registry.enroll(self._attendance.all(now))
            self._revision = 0
        else:
            taken, given_up = self._attendance.changes(now)
            if taken or given_up:
                await self._registry.move(taken, given_up)  # where that fails all is told anew
        pulse = await self._registry.pulse(self._revision, self._about())
        if pulse.young:
            return {}  # what was known stays, and the next round asks for everything again
        asked = [
            channel
            for channel in self._told
            if pulse.changed is None or channel in pulse.changed or channel not in self._rolls
        ]
        rolls = await self._registry.rolls(asked, self._settings.users) if asked else {}
        before = {channel: self._rolls[channel] for channel in rolls if channel in self._rolls}
        self._rolls.update((channel, roll) for channel, roll in rolls.items() if channel in self._told)
        self._revision = pulse.revision
        return {channel: before.get(channel, _NONE) for channel in rolls}

    def _succeed(self) -> None:
        self.rounds += 1
        if self.phase is not Phase.STOPPED:
            self.phase = Phase.IN
        if self._failing_since is not None:
            self._failing_since = self._said = None
            self._log.info("Presence is known again.")

    def _fail(self, why: str) -> None:
        self.failures += 1
        now = self._clock.seconds()
        if self.phase is Phase.STOPPED:
            return
        if self._failing_since is None:
            self._failing_since = now
        self._leave_phase(Phase.OUT)
        if self.phase is Phase.OUT and now - self._failing_since >= PATIENCE_SECONDS:
            self.phase = Phase.LOST
            self._rolls.clear()
            for watchers in self._told.values():
                self._behind.update(dict.fromkeys(watchers))
        if self._said is None or now - self._said[1] >= (REPEAT_SECONDS if why == self._said[0] else PATIENCE_SECONDS):
            self._said = (why, now)
            self._log.warn("Who is present is not known; events go on. {why}", why=why)

    # -- who is here ---------------------------------------------------------------------------------------------------

    def _see(self) -> None:
        """What the connections that have moved take and watch now."""
        now = self._clock.seconds()
        for connection in self._first(self._moved):
            del self._moved[connection]
            snapshot = None if connection.ended else connection.standing.snapshot
            places: set[Place] = set()
            watching: dict[str, None] = {}
            if snapshot is not None:
                member = None if snapshot.user is None else member_of(snapshot.wire_user)
                if member is not None:
                    places.add((ANYWHERE, member))
                for channel in connection.channels:
                    rule = self._directory.rule_for(channel)
                    if rule is None or not rule.presence:
                        continue
                    if member is not None:
                        places.add((channel, member))
                    if rule.shows(snapshot):
                        watching[channel] = None
            self._watch(connection, watching)
            before, after = self._places.pop(connection, frozenset()), frozenset(places)
            if after:
                self._places[connection] = after
            self._attendance.move(before, after, now)

    def _watch(self, connection: Connection, channels: dict[str, None]) -> None:
        for channel in self._watching.pop(connection, ()):
            if channel not in channels:
                watchers = self._told[channel]
                del watchers[connection]
                if not watchers:
                    del self._told[channel]
                    self._rolls.pop(channel, None)
        if not channels:
            self._behind.pop(connection, None)
            return
        self._watching[connection] = channels
        self._behind[connection] = None
        for channel in channels:
            self._told.setdefault(channel, {}).setdefault(connection, _UNTOLD)

    # -- telling -------------------------------------------------------------------------------------------------------

    def _tell(self, before: Mapping[str, Roll]) -> None:
        for channel, old in before.items():
            new = self._rolls.get(channel)
            if new is not None and new.revision != old.revision:
                self._tell_change(channel, old, new)
        telling = self._tell_behind()
        for (encoder, channel), members in telling.items():
            frame = encoder.presence(channel, whole(self._rolls.get(channel)))
            if frame:
                self._push.push(members, (channel, frame))
        self._push.flush()

    def _tell_behind(self) -> dict[tuple[Encoder, str], list[Connection]]:
        """Who is told the whole list of a channel now; the others wait for another round, each in his turn."""
        telling: dict[tuple[Encoder, str], list[Connection]] = {}
        looked = self._first(self._behind)
        self._unheard = len(self._behind) > len(looked)
        for connection in looked:
            del self._behind[connection]
        for connection in looked:
            for channel in self._watching.get(connection, ()):
                watchers, roll = self._told[channel], self._rolls.get(channel)
                revision = _UNKNOWN if roll is None else roll.revision
                if watchers[connection] == revision:
                    continue
                if (roll is None and self.phase is not Phase.LOST) or not self._takes(connection):
                    self._behind[connection] = None
                else:
                    telling.setdefault((connection.encoder, channel), []).append(connection)
                    watchers[connection] = revision
        return telling

    def _tell_change(self, channel: str, old: Roll, new: Roll) -> None:
        watchers, said = self._told[channel], change(old, new)
        ready: dict[Encoder, list[Connection]] = {}
        for connection, revision in watchers.items():
            if said is None or revision != old.revision or not self._takes(connection):
                self._behind[connection] = None
            else:
                ready.setdefault(connection.encoder, []).append(connection)
        for encoder, members in ready.items():
            frame = encoder.presence(channel, said) if said else b""
            if frame:
                self._push.push(members, (channel, frame))
            watchers.update(dict.fromkeys(members, new.revision))

    def _first(self, waiting: Iterable[Connection]) -> list[Connection]:
        """Of those that wait for their turn, as many as one round looks at."""
        first, channels = [], 0
        for connection in islice(waiting, AT_ONCE):
            first.append(connection)
            channels += len(connection.channels) + len(self._watching.get(connection, ()))
            if channels >= CHANNELS_AT_ONCE:
                break
        return first

    def _takes(self, connection: Connection) -> bool:
        """Whether it may surely know what it watches, and what is given to it now is written now."""
        if connection in self._moved:
            return False
        return connection.is_open and not connection.suspended and not connection.out.holds

    _log = Logger()


_NONE = Roll(_UNTOLD, None, 0)
