"""How a process gets hold of log and queue, in which order, and when it may say that nothing can pass it by.

    phase       there are          until
    ---------   ----------------   -------------------------------------------------------------------------------
    absent      nothing            `attached`: the log is being read, at an interval or at the last offset read before
    reading     the log reader     an own marker came back within `LAG_SECONDS`: it has caught up (binding)
    binding     and soon a queue   `bound`: the own queue is there and consumed (proving)
    proving     reader and queue   a marker sent after `bound` came back through the log (ready)
    ready       the same           a confirmed marker does not come back, or the queue brings what the log never shows
                                   (doubtful)
    doubtful    the same           the log shows what was missing (ready)
    any                            `lost`: connection, channel or consumer are gone (absent)

What happens goes in, with the time; `Step`s come out for the shell, `livepush.broker.feed`, to take. Readiness is a
proof, not an absence of errors: queue and log both receive only if their bindings are there, which nobody who may not
manage the broker can ask for, so a marker is sent and waited for.

*Made anew.* A reader attached at offset 1,000 of a log that now ends at 12 gets nothing, and no error. A probe at the
log's last chunk meets the own marker too: with an offset below the one attached at, the log is another one. (One with
more records than the old is told by the first record's check, which is the intake's work, as is a trimmed one.)

*Unbound.* A marker proves `marker.#` only. That `event.#` is bound is seen when what the queue brought is met in the
log; one not met for `marker_seconds` makes a marker be sent, and when that one comes back first, it never will be.

*Quiet.* A log that nobody wrote to for `beat_seconds` and up to a quarter more, by chance, gets a marker. Whoever is
first saves the others theirs; nobody answers a marker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from livepush.broker.markers import Markers

LAG_SECONDS = 1.0
FIRST_PAUSE = 1.0
PATIENCE_SECONDS = 30.0
FORGIVEN_SECONDS = 60.0
JITTER = 0.25
STOPPED_SECONDS = 3.0


class Phase(StrEnum):
    """See the top of the module."""

    ABSENT = "absent"
    READING = "reading"
    BINDING = "binding"
    PROVING = "proving"
    READY = "ready"
    DOUBTFUL = "doubtful"


class Step(StrEnum):
    """What the shell is to do.

    SEND: a marker, now or as soon as that is possible.  BIND: make the queue, then call `bound`.
    FORGET: what the queue brought and the log has not shown yet is not waited for.
    START_OVER: the log was made anew; forget it, attach at an interval.  ABANDON: give up the connection.
    """

    SEND = "send"
    BIND = "bind"
    FORGET = "forget"
    START_OVER = "start over"
    ABANDON = "abandon"


class Doubt(StrEnum):
    """Why it takes longer than it should.

    UNSENT: there was no way to send a marker.  UNCONFIRMED: the broker does not take it.
    MARKERS: it took it, and the log does not show it.  EVENTS: the log shows markers, and not what Django says.
    """

    UNSENT = "unsent"
    UNCONFIRMED = "unconfirmed"
    MARKERS = "markers"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the two sources have brought so far.

    Attributes:
        last: offset of the last record read, -1: none.
        stamped: how many records of Django's have been read from the log.
        unlocated_since: when the queue brought something that the log has not shown yet; None: nothing waits.
    """

    last: int = -1
    stamped: int = 0
    unlocated_since: float | None = None


class Attachment:
    """Of one process, over all its connections. `now` is any monotonic clock in seconds, the same for all calls.

    Args:
        marker_seconds: see `FeedSettings`.
        beat_seconds: see `FeedSettings`.
        choose: a number from 0 to 1, by chance.

    Attributes:
        phase: see the top of the module.
        doubt: why it is not ready, where that is known.
        markers: those that were sent; who sends one writes it down there.
    """

    def __init__(self, marker_seconds: float, beat_seconds: float, choose: Callable[[], float]) -> None:
        self.phase = Phase.ABSENT
        self.doubt: Doubt | None = None
        self.markers = Markers()
        self._marker_seconds, self._beat_seconds, self._choose = marker_seconds, beat_seconds, choose
        self._expected: int | None = None
        self._first = self._proof = 0
        self._pause = FIRST_PAUSE
        self._since = self._asked = 0.0
        self._met_sent = float("-inf")
        self._moved, self._quiet, self._seen = 0.0, 0.0, Seen()
        self._ticked = 0.0
        self._stamped_at_doubt = 0

    @property
    def ready(self) -> bool:
        """Whether everything that is published now arrives here."""
        return self.phase is Phase.READY

    # -- what happens --------------------------------------------------------------------------------------------------

    def attached(self, at: int | None, now: float) -> list[Step]:
        """The log is consumed from this offset on, a probe beside it; None: from an interval on, without a probe."""
        self.phase, self.doubt, self._expected = Phase.READING, None, at
        self.markers.forget()
        self._first = self.markers.newest + 1
        self._since = self._moved = self._ticked = now
        return self._ask_anew(now)

    def bound(self, now: float) -> list[Step]:
        """The queue is bound and consumed."""
        self.phase, self._proof = Phase.PROVING, self.markers.newest + 1
        return self._ask_anew(now)

    def lost(self) -> None:
        """The connection is gone, and reader and queue with it."""
        self.phase, self.doubt = Phase.ABSENT, None

    def met(self, number: int, now: float) -> list[Step]:
        """The reader met an own marker."""
        trip = self.markers.met(number, now)
        if trip is None:
            return []
        self._met_sent = now - trip
        if self.phase is Phase.READING:
            if trip <= LAG_SECONDS:
                self.phase, self.doubt = Phase.BINDING, None
                return [Step.BIND]
            return self._ask_anew(now) if number == self.markers.newest else []
        proven = self.phase is Phase.PROVING and number >= self._proof
        return self._trust(now) if proven or (self.phase is Phase.DOUBTFUL and self._waits) else []

    def probed(self, number: int, offset: int) -> list[Step]:
        """The probe met an own marker at this offset."""
        if self.phase is not Phase.READING or self._expected is None or number < self._first:
            return []
        anew, self._expected = offset < self._expected, None
        return [Step.START_OVER] if anew else []

    def tick(self, seen: Seen, now: float) -> list[Step]:
        """To be called each second. After a gap of some the process itself was stopped or busy."""
        stopped, self._ticked = now - self._ticked >= STOPPED_SECONDS, now
        if stopped:  # nothing could be read meanwhile, and that is not the log's fault
            self._moved = now
        if seen.last != self._seen.last:
            self._moved = now
            self._quiet = self._beat_seconds * (1 + JITTER * self._choose())
        self._seen = seen
        if self.phase is Phase.READY:
            return self._watch(seen, now)
        if self.phase is Phase.DOUBTFUL and self.doubt is Doubt.EVENTS:
            return self._reconsider(seen, now)
        if not self._waits:
            return []
        self.doubt = self._find_doubt(now)
        if self.phase is Phase.READING and self.doubt is Doubt.MARKERS and now - self._moved >= PATIENCE_SECONDS:
            return [Step.ABANDON]
        if now - self._asked >= self._pause:
            self._asked, self._pause = now, min(self._pause * 2, self._marker_seconds)
            return [Step.SEND]
        return []

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _waits(self) -> bool:
        """Whether a marker is waited for before anything else can happen."""
        return self.phase in (Phase.READING, Phase.PROVING) or (
            self.phase is Phase.DOUBTFUL and self.doubt is not Doubt.EVENTS
        )

    def _ask_anew(self, now: float) -> list[Step]:
        self._asked, self._pause = now, min(FIRST_PAUSE, self._marker_seconds)
        return [Step.SEND]

    def _trust(self, now: float) -> list[Step]:
        self.phase, self.doubt, self._moved = Phase.READY, None, now
        self._quiet = self._beat_seconds * (1 + JITTER * self._choose())
        return [Step.FORGET]

    def _distrust(self, doubt: Doubt, seen: Seen, now: float) -> None:
        self.phase, self.doubt, self._since, self._stamped_at_doubt = Phase.DOUBTFUL, doubt, now, seen.stamped

    def _find_doubt(self, now: float) -> Doubt | None:
        """Why no marker came back; None: there is no reason to wonder yet, or the reader has much to read."""
        if self.markers.missing(now) >= self._marker_seconds:
            standing = now - self._moved >= self._marker_seconds
            return Doubt.MARKERS if standing or self.markers.unroutable else None
        if self.markers.unconfirmed(now) >= self._marker_seconds:
            return Doubt.UNCONFIRMED
        if self.phase is Phase.DOUBTFUL:
            return self.doubt
        waited = now - self._since >= self._marker_seconds
        return Doubt.UNSENT if waited and self.markers.newest < max(self._first, self._proof) else None

    def _watch(self, seen: Seen, now: float) -> list[Step]:
        """While ready."""
        if self._find_doubt(now) is Doubt.MARKERS:
            self._distrust(Doubt.MARKERS, seen, now)
            return self._ask_anew(now)
        due = now - self._moved >= self._quiet
        if seen.unlocated_since is not None and now - seen.unlocated_since >= self._marker_seconds:
            if self._met_sent >= seen.unlocated_since + LAG_SECONDS:
                self._distrust(Doubt.EVENTS, seen, now)
                return [Step.FORGET]
            due = True
        if due and now - self._asked >= self._marker_seconds:
            self._asked = now
            return [Step.SEND]
        return []

    def _reconsider(self, seen: Seen, now: float) -> list[Step]:
        """The log does not show what Django says: until it does, or nothing more has been missed for a minute."""
        if seen.stamped > self._stamped_at_doubt or now - self._since >= FORGIVEN_SECONDS:
            return self._trust(now)
        if seen.unlocated_since is not None and now - seen.unlocated_since >= self._marker_seconds:
            self._since = now
            return [Step.FORGET]
        return []
