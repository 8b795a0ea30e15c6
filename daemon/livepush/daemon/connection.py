"""One browser's connection: who it is, what it may hear, what waits for it. No transport, no wire bytes of its own.

    state         what happens                                    goes on when
    -----------   ---------------------------------------------   ----------------------------------------------------
    IDENTIFYING   the session is looked up in the thread pool;    a user: GREETING (or OPEN, a listener); nobody: 4401;
                  nothing is read from the client                 no room or no database: 4029
    GREETING      waits for `hello`                               `hello`: OPEN; 10 s since it was opened: 4408
    OPEN          events, requests                                either side closes: CLOSING
    CLOSING       nothing is delivered or handled any more; late  the transport has gone
                  answers of the thread pool are thrown away
    CLOSED        is forgotten

Requests are handled one after the other, in order; while one waits for the thread pool nothing more is read, so that
what is queued is bounded by one read of the transport.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from livepush.broker.names import is_channel
from livepush.daemon.entitlement import Grant, Snapshot
from livepush.daemon.errors import Busy, IdentityUnavailable
from livepush.daemon.interfaces import Encoder, Identity, Link
from livepush.daemon.settings import Limits
from livepush.wire import native
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.native import ErrorCode, Granted

if TYPE_CHECKING:
    from livepush.daemon.hub import Hub


class State(Enum):
    """Where a connection's life stands; see the table above."""

    IDENTIFYING = auto()
    GREETING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Connection:
    """A connection's state machine; `opened`, `received`, `closed`, `pauseProducing`, `resumeProducing` drive it."""

    __slots__ = (
        "_busy",
        "_greets",
        "_held",
        "_held_bytes",
        "_identity",
        "_inbox",
        "_limits",
        "_link",
        "_opened_at",
        "_timer",
        "channels",
        "encoder",
        "heard",
        "hub",
        "missed",
        "name",
        "pending",
        "quiet",
        "snapshot",
        "state",
        "tab",
        "user",
        "write",
    )

    def __init__(
        self, hub: Hub, identity: Identity, encoder: Encoder, limits: Limits, link: Link, greets: bool = True
    ) -> None:
        self.hub, self.encoder = hub, encoder
        self._identity, self._limits, self._link = identity, limits, link
        self._greets = greets  # whether the client says hello before it gets anything
        self.state = State.IDENTIFYING
        self.snapshot: Snapshot | None = None
        self.user: str | None = None
        self.tab: str | None = None
        self.channels: dict[str, str] = {}
        # For the hub: frames of this turn, and where they go. `write` is the link's, or `_hold` while the peer is slow,
        # so that the hot path does not ask.
        self.pending: list[bytes] = []
        self.write: Callable[[bytes], None] = link.write
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.heard = True  # something was received since the last beat
        self.quiet = True  # nothing was sent since the last beat
        self.missed = 0  # beats without a received byte
        self._inbox: deque[bytes] = deque()
        self._busy = False
        self._timer: IDelayedCall | None = None
        self._opened_at = hub.index
        self.name = hub.register(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    def opened(self, cookies: str) -> None:
        """The transport is ready; the user is looked up."""
        self._timer = self.hub.clock.callLater(self._limits.hello_seconds, self._no_hello)
        self._begin(self._identify(cookies))

    def close(self, code: Close, reason: str) -> None:
        """Ends the connection, after what is pending."""
        if self.ended:
            return
        self.hub.deal()
        if not self._held:
            self.flush()
        self.end()
        self._link.close(code, reason)

    def abort(self) -> None:
        """Drops the connection at once."""
        self.end()
        self._link.abort()

    def end(self) -> None:
        """The transport is about to go: nothing is delivered or handled any more."""
        if self.ended:
            return
        self.state = State.CLOSING
        self._stop_timer()
        self._inbox.clear()
        self._held.clear()
        self.pending = []
        self.write = _discard
        self.hub.silence(self)

    def closed(self) -> None:
        """The transport has gone."""
        self.end()
        if self.state is State.CLOSING:
            self.state = State.CLOSED
            self.hub.forget(self)

    @property
    def ended(self) -> bool:
        """Whether it is over, the transport still being there or not."""
        return self.state is State.CLOSING or self.state is State.CLOSED

    def _no_hello(self) -> None:
        self._timer = None
        self.close(Close.NO_HELLO, "no hello in time")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _identify(self, cookies: str) -> None:
        snapshot = await self._identity.identify(cookies)
        if self.state is not State.IDENTIFYING:
            return
        if snapshot is None:
            self.close(Close.IDENTITY, "not logged in")
            return
        self.snapshot, self.user = snapshot, snapshot.user
        self.hub.identified(self, snapshot.user)
        if self._greets:
            self.state = State.GREETING
            return
        grants = await self._permitted(self.hub.directory.declared(snapshot))
        if self.state is not State.IDENTIFYING:
            return
        if not grants:
            self.close(Close.FORBIDDEN, "no channel of this site is open to you")
            return
        self._stop_timer()
        self.state = State.OPEN
        for channel, granted in self.hub.subscribe(self, grants, self._opened_at).items():
            if granted.resync is not None:
                self.pending.append(self.encoder.resync(channel, granted.resync))
        self.flush()

    # -- requests ------------------------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> None:
        """One message of the client."""
        if self.ended:
            return
        self._inbox.append(payload)
        if not self._busy:
            self._handle_inbox()

    def _handle_inbox(self) -> None:
        while self._inbox and not self._busy and not self.ended:
            try:
                request = native.parse(self._inbox.popleft(), self._limits.message_depth)
            except BadMessage as error:
                self.close(Close.BAD_MESSAGE, error.why)
                return
            self._handle(request)

    def _handle(self, request: native.Request) -> None:
        match request:
            case native.Hello():
                self._begin(self._greet(request))
            case native.Unknown():
                self._error(request.n, ErrorCode.UNKNOWN_OP, "this server does not know this op")
            case _ if self.state is State.GREETING:
                self._error(request.n, ErrorCode.UNEXPECTED, "say hello first")
            case native.Subscribe():
                self._begin(self._subscribe(request))
            case native.Unsubscribe() if not is_channel(request.channel):
                self._error(request.n, ErrorCode.BAD_CHANNEL, "no channel has such a name")
            case native.Unsubscribe():
                self.hub.unsubscribe(self, request.channel)
                self._send(native.ok_frame(request.n, request.channel))

    async def _greet(self, hello: native.Hello) -> None:
        snapshot = self._identified()
        if self.state is State.OPEN and self._greets:
            self._error(hello.n, ErrorCode.UNEXPECTED, "hello was said before")
            return
        since = hello.channels or {}
        if hello.channels is None:
            grants = self.hub.directory.declared(snapshot)
        else:
            named = [name for name in hello.channels if is_channel(name)][: self._limits.subscriptions]
            grants = tuple(grant for name in named if (grant := self.hub.directory.grant(snapshot, name)))
        grants = await self._permitted(grants)
        if self.ended:
            return
        # A listener has had what was released until now.
        after = self.hub.index if self.state is State.OPEN else self._opened_at
        self.tab = hello.tab
        self._greets = True
        self._stop_timer()
        self.state = State.OPEN
        for channel in list(self.channels):
            self.hub.unsubscribe(self, channel)
        granted = {
            # Positions come with the log; one that a client has from elsewhere can't be vouched for.
            name: grant if since.get(name) is None else Granted(grant.audience, 0, "restart")
            for name, grant in self.hub.subscribe(self, grants, after).items()
        }
        limits = self._limits
        self._send(
            native.welcome_frame(
                hello.n, self.name, snapshot.wire_user, limits.heartbeat_seconds, limits.retry_ms, granted
            )
        )
        if hello.channels is not None and len(hello.channels) > limits.subscriptions:
            self._too_many(hello.n)

    async def _subscribe(self, request: native.Subscribe) -> None:
        channel, after = request.channel, self.hub.index
        if not is_channel(channel):
            self._error(request.n, ErrorCode.BAD_CHANNEL, "no channel has such a name")
            return
        if channel not in self.channels and len(self.channels) >= self._limits.subscriptions:
            self._too_many(request.n)
            return
        grant = self.hub.directory.grant(self._identified(), channel)
        grants = await self._permitted(() if grant is None else (grant,))
        if self.ended:
            return
        if not grants:
            self._error(request.n, ErrorCode.FORBIDDEN, "this channel is not open to you")
            return
        self.hub.unsubscribe(self, channel)
        granted = self.hub.subscribe(self, grants, after)[channel]
        if request.since is not None:
            granted = Granted(granted.audience, 0, "restart")
        self._send(native.ok_frame(request.n, channel, granted))

    async def _permitted(self, grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
        """Those whose object-level rule, where there is one, says yes."""
        snapshot = self._identified()
        return tuple(
            [
                grant
                for grant in grants
                if grant.guard is None or await self._identity.allows(snapshot, grant.guard, grant.channel)
            ]
        )

    def _identified(self) -> Snapshot:
        assert self.snapshot is not None, "requests are handled only after the user is known"
        return self.snapshot

    def _too_many(self, n: int | None) -> None:
        message = f"at most {self._limits.subscriptions} subscriptions a connection"
        self._error(n, ErrorCode.TOO_MANY_SUBSCRIPTIONS, message)

    def _error(self, n: int | None, code: ErrorCode, message: str, retry: bool = False) -> None:
        self._send(native.error_frame(n, code, message, retry))

    # -- one job at a time ---------------------------------------------------------------------------------------------

    def _begin(self, job: Coroutine[Deferred[Any], Any, None]) -> None:
        """Runs a step that may wait for the thread pool; the client is not read from until it is done."""
        self._busy = True
        done = Deferred.fromCoroutine(job)
        done.addErrback(self._failed)
        if done.called:
            self._busy = False  # and the caller's loop goes on: no recursion over a long inbox
            return
        self._link.pause_reading()
        done.addCallback(self._finished)

    def _failed(self, failure: Failure) -> None:
        if self.ended:
            return
        if failure.check(Busy, IdentityUnavailable) is None:
            self._log.failure("A request of connection {name} broke.", failure, name=self.name)
        self.close(Close.BUSY, "the server can't answer now")

    def _finished(self, _: None) -> None:
        self._busy = False
        if not self.ended:
            self._link.resume_reading()
            self._handle_inbox()

    # -- outbound ------------------------------------------------------------------------------------------------------

    def _send(self, frame: bytes) -> None:
        self.hub.deal()
        self.pending.append(frame)
        self.flush()

    def flush(self) -> None:
        """Writes what is pending now."""
        pending = self.pending
        if pending:
            self.pending = []
            self.quiet = False
            self.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def pauseProducing(self) -> None:
        """The transport's buffer is full: the peer does not read. What comes now waits here, up to the bound."""
        if not self.ended:
            self.write = self._hold

    def resumeProducing(self) -> None:
        """The peer has caught up."""
        if self.ended:
            return
        held, self._held, self._held_bytes = self._held, [], 0
        self.write = self._link.write
        if held:
            self.write(b"".join(held))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > self._limits.outbound_bytes:
            self._held.clear()
            self.close(Close.TOO_SLOW, "this client reads too slowly")

    def beat(self) -> None:
        """Called every `heartbeat` seconds: asks for a sign of life, and gives one."""
        if self.heard:
            self.heard, self.missed = False, 0
        elif not self._busy:
            self.missed += 1
            if self.missed >= 2:
                self.close(Close.SILENT, "nothing received for two heartbeats")
                return
        self._link.ping()
        if self.state is State.OPEN and self._greets and self.quiet:
            self._send(native.HEARTBEAT_FRAME)
        self.quiet = True

    _log = Logger()


def _discard(_: bytes) -> None:
    """Where a closed connection writes to."""
