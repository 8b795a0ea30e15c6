"""One browser's connection: who it is, what it may hear, what waits for it. No transport, no wire format of its own.

    state         what happens                                    goes on when
    -----------   ---------------------------------------------   ----------------------------------------------------
    IDENTIFYING   the session is looked up in the thread pool;    a user: GREETING (or OPEN, a listener); nobody: 4401;
                  nothing is read from the client                 no room or no database: 4029
    GREETING      waits for `hello`, then for the feed and what   `hello`: OPEN; 10 s since it was opened: 4408; `hello`
                  it takes to answer it. Who has no session may   without a ticket of who is nobody yet, or with one
                  be nobody until then, and show a ticket         that is not good: 4401
    OPEN          events, requests                                either side closes: CLOSING
    CLOSING       nothing is delivered or handled any more; late  the transport has gone
                  answers of the thread pool are thrown away
    CLOSED        is forgotten

    suspended     OPEN, and a control message came that may       who it is now is known: it goes on, with `gone` and
                  concern it: nothing is written or handled       `back`, or 4401; too late (`suspension`): 4029
    leaving       suspended, and the login has ended: waits for   `RENEWAL_SECONDS`: 4401, or 4001 where the browser may
                  what else Django does in this moment            have a newer cookie, which it shows when it comes back

Requests are handled one after the other, in order (`inbox`). One that has no answer after 10 s ends the connection with
4029; not while it is suspended, which has a bound of its own. Whatever was decided by a snapshot that a control message
has outdated meanwhile is decided again (`standing`).

This module is past 400 lines because the states and the requests that move a connection between them are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.broker.names import is_channel
from livepush.daemon.departures import DROPPED, LEFT
from livepush.daemon.errors import Busy, IdentityUnavailable, LoggedOut, NotReady
from livepush.daemon.history import Answer
from livepush.daemon.inbox import Inbox, Said
from livepush.daemon.interfaces import Codec, Encoder, Identity, Link
from livepush.daemon.outbound import Frame, Outbound
from livepush.daemon.ratelimit import Meter
from livepush.daemon.settings import Limits
from livepush.daemon.standing import Audiences, Standing
from livepush.wire import requests
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.requests import ErrorCode

if TYPE_CHECKING:
    from livepush.daemon.hub import Hub


RENEWAL_SECONDS = 0.3
"""From the end of a login to the close: Django first saves the new password, then gives the session that it was changed
in another key, and the browser has that with the answer."""


class State(Enum):
    """Where a connection's life stands; see the table above."""

    IDENTIFYING = auto()
    GREETING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Connection:
    """A connection's state machine.

    `opened`, `received` (or `request`), `closed`, `pauseProducing`, `resumeProducing` drive it.

    Args:
        hub: of this process.
        identity: finds out whose it is.
        encoder: its wire format.
        codec: reads what the client says.
        limits: its bounds.
        link: the transport.
        greets: whether the client says hello before it gets anything; else it is a listener of the declared channels.
        below: a listener gets only this channel and those below it.
    """

    __slots__ = (
        "_below",
        "_codec",
        "_farewell",
        "_inbox",
        "_leaving",
        "_limits",
        "_link",
        "_opened_at",
        "_refused",
        "_suspended_at",
        "_timer",
        "channels",
        "encoder",
        "greets",
        "heard",
        "hub",
        "missed",
        "name",
        "out",
        "place",
        "since",
        "standing",
        "state",
        "tab",
        "user",
    )

    def __init__(
        self,
        hub: Hub,
        identity: Identity,
        encoder: Encoder,
        codec: Codec,
        limits: Limits,
        link: Link,
        greets: bool = True,
        below: str | None = None,
    ) -> None:
        self.hub, self.encoder, self._codec = hub, encoder, codec
        self._limits, self._link, self.place = limits, link, link.place
        self.greets, self._below = greets, below
        self.state = State.IDENTIFYING
        self.standing = Standing(hub, identity)
        self.user: str | None = None
        self.tab: str | None = None
        self.channels: Audiences = {}
        self._refused: dict[str, None] = {}  # wanted, and not granted: `back` tells when they are
        self.out = Outbound(link.write, limits.outbound_bytes, self)
        self._suspended_at = 0  # the feed index
        self._leaving: IDelayedCall | None = None  # its login has ended
        self.heard = True  # something was received since the last beat
        self.missed = 0  # beats without a received byte
        most = max(limits.subscriptions, limits.message_burst)
        self._inbox = Inbox(self, link, hub.clock, limits.hello_seconds, Meter(limits.messages), most)
        self._timer: IDelayedCall | None = None  # for the hello
        self._opened_at = hub.history.index
        self._farewell = (LEFT, "")  # why it ends, if nothing else does
        self.since = hub.clock.seconds()
        self.name = hub.register(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    def opened(self, cookies: str) -> None:
        """The transport is ready; the user is looked up."""
        self._timer = self.hub.clock.callLater(self._limits.hello_seconds, self._time_out)
        self._inbox.begin(self._identify(cookies))

    def close(self, code: Close, reason: str) -> None:
        """Ends the connection, after what is pending; what is held back is dropped."""
        if self.ended:
            return
        self._farewell = (code.name.lower(), reason)
        self.hub.deal()
        if not self.out.holds:
            self.out.flush()
        self.end()
        self._link.close(code, reason)

    def abort(self) -> None:
        """Drops the connection at once."""
        if not self.ended:
            self._farewell = (DROPPED, "")
        self.end()
        self._link.abort()

    def end(self) -> None:
        """The transport is about to go: nothing is delivered or handled any more."""
        if self.ended:
            return
        self.state = State.CLOSING
        self._stop_timer()
        self._stay()
        self._inbox.end()
        self.out.end()
        self.hub.latency.drained(self)
        self.hub.silence(self)
        self.standing.end()

    def closed(self) -> None:
        """The transport has gone."""
        self.end()
        if self.state is State.CLOSING:
            self.state = State.CLOSED
            self.hub.departures.note(self, *self._farewell, self.hub.clock.seconds())
            self.hub.forget(self)

    @property
    def ended(self) -> bool:
        """Whether it is over, the transport still being there or not."""
        return self.state is State.CLOSING or self.state is State.CLOSED

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way; one that has begun may outlast the connection."""
        return self._inbox.busy

    @property
    def suspended(self) -> bool:
        """Whether it waits to be identified anew."""
        return self.standing.suspended

    @property
    def is_open(self) -> bool:
        """Whether it hears events, or will when it is not suspended any more."""
        return self.state is State.OPEN

    @property
    def overlaps(self) -> bool:
        """Whether its client makes the next connection beside this one when it is told to go; else it is ended."""
        return self.state is State.OPEN and self.greets and self.encoder.overlaps

    def send_away(self, after: int) -> None:
        """Tells the client that this process is going, in so many milliseconds."""
        if self.state is State.OPEN:
            self._send(self.encoder.goaway(after))

    def _time_out(self) -> None:
        self._timer = None
        self.close(Close.NO_HELLO, "no hello in time")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _identify(self, cookies: str) -> None:
        try:
            snapshot = await self.standing.identify(cookies)
        except LoggedOut:
            if not self.greets or not self.standing.may_show_ticket(cookies):
                raise
            if self.state is State.IDENTIFYING:
                self.state = State.GREETING
            return
        if self.state is not State.IDENTIFYING:
            return
        self.user = snapshot.user
        self.hub.identified(self, snapshot.user)
        if self.hub.is_crowded(self, self._limits.user_connections):
            self.close(Close.TOO_MANY, "too many connections of this user")
            return
        if self.greets:
            self.state = State.GREETING
            return
        settled = await self.standing.settle(None, _nowhere, self._heard_from(self._opened_at), self._below)
        if settled is None:
            return
        self._stop_timer()
        self.state = State.OPEN
        grants, answers = settled
        if not grants:
            self.close(Close.FORBIDDEN, "no channel of this site is open to you")
            return
        self._listen(grants, answers)
        self.out.flush()

    # -- requests ------------------------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        """One message of the client."""
        self._inbox.add(payload)

    def request(self, request: requests.Request) -> None:
        """One request of the client, where the transport has read it itself; the bound of how many is the caller's."""
        self._inbox.add(request)

    def answer(self, n: int | None, data: Mapping[str, Any]) -> None:
        """The result of a call."""
        if not self.ended:
            self._send(self.encoder.result(n, dict(data)))

    def refuse(self, n: int | None, code: str, message: str, retry: bool = False) -> None:
        """A call that has no result; `message` is for people."""
        if not self.ended:
            self._error(n, code, message, retry)

    def failed(self, failure: Failure) -> None:
        """A request has failed."""
        if failure.check(LoggedOut) is not None:
            error: Any = failure.value
            self.close(Close.IDENTITY, error.why)
            return
        if failure.check(Busy, IdentityUnavailable, NotReady) is None:
            self._log.failure("A request of connection {name} broke.", failure, name=self.name)
        self.close(Close.BUSY, "the server can't answer now")

    def is_late(self) -> None:
        """A request has no answer in time."""
        self.close(Close.BUSY, "the server can't answer now")

    def floods(self) -> None:
        """It says more than any page does."""
        self.close(Close.TOO_MANY, "too many messages")

    def handle(self, said: Said) -> None:
        """The inbox has come to it."""
        try:
            request = self._codec.parse(said, self._limits.message_depth) if isinstance(said, bytes) else said
        except BadMessage as error:
            self.close(Close.BAD_MESSAGE, error.why)
            return
        match request:
            case None:
                return
            case requests.Hello():
                self._inbox.begin(self._greet(request))
            case requests.Unknown():
                self._error(request.n, ErrorCode.UNKNOWN_OP, "this server does not know this op")
            case _ if self.state is State.GREETING:
                self._error(request.n, ErrorCode.UNEXPECTED, "say hello first")
            case requests.Subscribe():
                self._inbox.begin(self._subscribe(request))
            case requests.Unsubscribe() if not is_channel(request.channel):
                self._error(request.n, ErrorCode.BAD_CHANNEL, "no channel has such a name")
            case requests.Unsubscribe():
                self.hub.unsubscribe(self, request.channel)
                self._refused.pop(request.channel, None)
                self._send(self.encoder.ok(request.n, request.channel))
            case requests.Call() if self.hub.calls is None:
                self._error(request.n, ErrorCode.UNKNOWN_OP, "this server takes no calls")
            case requests.Call():
                self.hub.calls.begin(self, request)

    async def _greet(self, hello: requests.Hello) -> None:
        if self.state is State.OPEN and self.greets:
            self._error(hello.n, ErrorCode.UNEXPECTED, "hello was said before")
            return
        if hello.ticket is not None and self.state is State.OPEN:
            self._error(hello.n, ErrorCode.UNEXPECTED, "a ticket comes with the first thing that is said")
            return
        limits = self._limits
        self._stop_timer()
        if hello.ticket is not None:
            user = (await self.standing.redeem(hello.ticket)).user
            if self.ended:
                return
            self.hub.unidentified(self)
            self.user = user
            self.hub.identified(self, user)
        elif self.standing.snapshot is None:
            raise LoggedOut
        after = self._heard_from(self.hub.history.index if self.state is State.OPEN else self._opened_at)
        named = None
        if hello.channels is not None:
            named = [name for name in hello.channels if is_channel(name)][: limits.subscriptions]
        settled = await self.standing.settle(named, hello.position, after)
        if settled is None:
            return
        grants, answers = settled
        self.tab = hello.tab
        self.greets = True
        if self.hub.is_crowded(self, limits.user_connections, greeted=True):
            self.close(Close.TOO_MANY, "too many connections of this user")
            return
        self.state = State.OPEN
        for channel in list(self.channels):
            self.hub.unsubscribe(self, channel)
        granted = self.hub.subscribe(self, grants, answers, limits.outbound_bytes)
        self._remember_refused(answers)
        at, name = self.hub.history.position(), self.standing.known().wire_user
        welcome = requests.Welcome(self.name, name, limits.heartbeat_seconds, limits.retry_ms, at, granted, hello.token)
        self._send(self.encoder.welcome(hello.n, welcome))
        if hello.channels is not None and len(hello.channels) > limits.subscriptions:
            self._too_many(hello.n)

    async def _subscribe(self, request: requests.Subscribe) -> None:
        channel, after = request.channel, self._heard_from(self.hub.history.index)
        if not is_channel(channel):
            self._error(request.n, ErrorCode.BAD_CHANNEL, "no channel has such a name")
            return
        if channel not in self.channels and len(self.channels) >= self._limits.subscriptions:
            self._too_many(request.n)
            return
        try:
            settled = await self.standing.settle([channel], lambda _: request.since, after)
        except NotReady:
            self._error(request.n, ErrorCode.BUSY, "the server can't answer now", retry=True)
            return
        if settled is None:
            return
        grants, answers = settled
        self.hub.unsubscribe(self, channel)
        self._remember_refused(answers)
        if not grants:
            self._error(request.n, ErrorCode.FORBIDDEN, "this channel is not open to you")
            return
        granted = self.hub.subscribe(self, grants, answers, self._limits.outbound_bytes)[channel]
        self._send(self.encoder.granted(request.n, channel, granted, self.hub.history.position()))

    def _heard_from(self, asked_at: int) -> Callable[[str], int]:
        """The feed index up to which nothing is owed: now, of a channel that it hears while its request is answered."""
        return lambda channel: self.hub.history.index if channel in self.channels else asked_at

    def _listen(self, grants: Audiences, answers: Mapping[str, Answer]) -> None:
        """Subscribes, and tells as `resync` what can't be replayed, for there is no answer that would tell it."""
        at = self.hub.history.position()
        for channel, granted in self.hub.subscribe(self, grants, answers, self._limits.outbound_bytes).items():
            if granted.resync is not None:
                self.out.pending.append((channel, self.encoder.resync(channel, granted.resync, at)))
        self._remember_refused(answers)

    def _remember_refused(self, wanted: Iterable[str]) -> None:
        for channel in wanted:
            if channel in self.channels:
                self._refused.pop(channel, None)
            elif len(self._refused) < self._limits.subscriptions:
                self._refused[channel] = None

    # -- who it is now -------------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Nothing is written to it until it is identified anew.

        Before it is open nothing is written anyway, and what it asks for is decided by a snapshot that is not outdated.
        """
        if self.state is not State.OPEN or self.suspended:
            return
        self._suspended_at = self.hub.history.index
        self.hub.suspensions += 1
        self.standing.suspend(self._give_up)
        self.hub.part(self)
        self.out.suspend()
        if self.ended:
            return
        self._inbox.pause()

    def _give_up(self) -> None:
        self.close(Close.BUSY, "the server can't say now what you may hear")

    async def reidentify(self) -> None:
        """Finds out who it is now, and goes on as that."""
        try:
            grants = await self.standing.identify_anew(lambda: [*self.channels, *self._refused])
        except LoggedOut:
            self.suspend()
            if self._leaving is None and not self.ended:
                self._leaving = self.hub.clock.callLater(RENEWAL_SECONDS, self._leave)
            return
        self._stay()
        if grants is not None:
            self._apply(grants)

    def expel(self, why: str) -> None:
        """Ends it because the site says so; what is pending is not sent."""
        self.suspend()
        self.close(Close.IDENTITY, why)

    def wants(self, channel: str) -> bool:
        """Whether it listens to a channel, or would if it might."""
        return channel in self.channels or channel in self._refused

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _leave(self) -> None:
        self._leaving = None
        Deferred.fromCoroutine(self._leave_as_it_must()).addErrback(self.failed)

    async def _leave_as_it_must(self) -> None:
        renewed = await self.standing.may_return()
        if not self.suspended:
            return  # another message came, and he is a user again
        if renewed:
            self.close(Close.RENEWED, "the session has another key, or has ended")
        else:
            self.close(Close.IDENTITY, "the login has ended")

    def _apply(self, grants: Audiences) -> None:
        """Goes on by a new snapshot: from where it was in what it had and has, anew in what it has now."""
        before = self.channels
        kept = {name: audience for name, audience in grants.items() if before.get(name) == audience}
        # What was heard comes first. What passes the bound stays refused, until there is room for it.
        more = ((name, audience) for name, audience in grants.items() if name not in kept)
        new = dict(islice(more, self._limits.subscriptions - len(kept)))
        self.hub.look(self, before.keys() - kept.keys())  # also of who sees the same events, and no more who is here
        if not self.suspended and before == kept | new:
            return
        self.suspend()
        history, self.channels = self.hub.history, {}
        self.out.keep(kept)
        self._listen(kept, {name: history.after(name, self._suspended_at) for name in kept})
        self.hub.subscribe(self, new, {name: [] for name in new}, 0)
        self._remember_refused([*before, *new])
        at = history.position()
        for channel in before.keys() - grants.keys():
            self.out.pending.append(("", self.encoder.gone(channel, "permission")))
        for channel, audience in new.items():
            self.out.pending.append(("", self.encoder.back(channel, audience, at)))
        self.out.readmit()
        self.standing.readmit()
        self._inbox.go_on()

    def _too_many(self, n: int | None) -> None:
        message = f"at most {self._limits.subscriptions} subscriptions a connection"
        self._error(n, ErrorCode.TOO_MANY_SUBSCRIPTIONS, message)

    def _error(self, n: int | None, code: str, message: str, retry: bool = False) -> None:
        self._send(self.encoder.error(n, code, message, retry))

    # -- outbound ------------------------------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> None:
        if not frame:
            return  # the wire format has no word for it
        self.hub.deal()
        self.out.pending.append(("", frame))
        self.out.flush()

    @property
    def writing(self) -> Sequence[Frame]:
        """The frames of what the hub is writing."""
        return self.hub.writing

    def tell_slow(self, channel: str) -> bytes:
        """The frame that stands for events which this client was too slow for."""
        self.hub.slow += 1
        self.hub.look(self, (channel,))
        return self.encoder.resync(channel, "slow", self.hub.history.position())

    def end_slow(self) -> None:
        """The client reads nothing, after events were dropped for that; or not the answers to its requests."""
        self.close(Close.TOO_SLOW, "this client reads too slowly")

    def pauseProducing(self) -> None:
        """The transport had to keep something: the peer does not read. What comes now waits, up to the bound."""
        if not self.ended:
            self.hub.latency.stalled(self)
            self.out.pause()

    def resumeProducing(self) -> None:
        """The peer has caught up."""
        if not self.ended:
            self.hub.latency.drained(self)
            self.out.resume()

    def beat(self) -> None:
        """Called every `heartbeat` seconds: asks for a sign of life, and gives one that moves all its positions."""
        if self.heard:
            self.heard, self.missed = False, 0
        elif not self._inbox.stalled:
            self.missed += 1
            if self.missed >= 2:
                self.close(Close.SILENT, "nothing received for two heartbeats")
                return
        self.out.beat()
        if self.ended:
            return
        self._link.ping()
        if self.state is State.OPEN and self.greets and not self.suspended:
            self._send(self.encoder.heartbeat(self.hub.history.position()))

    _log = Logger()


def _nowhere(_: str) -> None:
    """The position of a listener's channels."""
