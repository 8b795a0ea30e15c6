"""One HTTP connection: what twisted.web leaves open about the head of a request, and about how long it takes.

    what                                       bound                          over it
    ----------------------------------------   ----------------------------   ---------------------------------
    from a request's first byte to its last    `Limits.request_seconds`       408, closed
    header, and from there to its end
    between two requests, and after accept     the same, and `IDLE_SECONDS`   closed
    a head                                     `Limits.header_bytes`          431, closed
    requests that do not wait for the answer   as many as messages of a       the next one waits
    to the one before                          WebSocket; see `Limits`
    what all requests take of a turn           see `turns`                    what was read waits, and no more is read
    what is read beside a request under way    16 KiB and one read            nothing more is read
    a socket that can't be closed in order     `ABORT_SECONDS`                dropped

Nothing is logged: no client can fill the disk. Which head is none is told by `hygiene`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from livepush.daemon import hygiene
from livepush.daemon.addresses import Census
from livepush.daemon.ratelimit import Meter
from livepush.daemon.response import bare
from livepush.daemon.settings import Limits
from livepush.daemon.turns import Turns

ABORT_SECONDS = 5


class Channel(HTTPChannel):
    """One connection, until a WebSocket or a stream takes its transport over.

    Args:
        limits: its bounds.
        sockets: where it is counted.
        place: as which it is counted there.
        turns: when it may do something.
    """

    abortTimeout = ABORT_SECONDS
    transport: Any
    callLater: Any
    site: Any

    def __init__(self, limits: Limits, sockets: Census, place: str | None, turns: Turns) -> None:
        HTTPChannel.__init__(self)
        self._limits, self._sockets, self._place, self._turns = limits, sockets, place, turns
        self._meter = Meter(limits.messages)  # each is as dear as many frames
        self._held = b""
        self._answered: Request | None = None
        self._has_turn = False
        self.totalHeadersSize = self.MAX_LENGTH = limits.header_bytes
        self._deadline: IDelayedCall | None = None
        self._rest: IDelayedCall | None = None
        self._counted = True
        sockets.enter(place)

    # -- time ----------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The client is there, and has to say what it wants."""
        HTTPChannel.connectionMade(self)
        self._expect()

    def dataReceived(self, data: bytes) -> None:
        """Something was read: of a request, or of those that wait behind it; nothing counts after a refusal."""
        if self._abortingCall is not None:
            return
        if self._deadline is None and not self._handlingRequest:
            self._expect()
        if self._handlingRequest or self._has_turn:
            HTTPChannel.dataReceived(self, data)
        elif not self._held and self._turns.is_free():
            self._turns.do(HTTPChannel.dataReceived, self, data)
        else:
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        """Others come first; one read is kept, and no more is read."""
        if not self._held:
            self._turns.wait(self._release)
        self._held += data
        self._networkProducer.pauseProducing()

    def _release(self) -> None:
        data, self._held = self._held, b""
        if data and self._abortingCall is None and not self.transport.disconnecting:
            if not self._waitingForTransport:
                self._networkProducer.resumeProducing()
            HTTPChannel.dataReceived(self, data)

    def allHeadersReceived(self) -> None:
        """The head is there; its body has as long again."""
        self._expect()
        HTTPChannel.allHeadersReceived(self)

    def allContentReceived(self) -> None:
        """The request is there; the answer takes as long as it takes."""
        self._stop_expecting()
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Request) -> None:
        """It is answered; the next one may have to wait, if it is there already; browsers and proxies do not do so."""
        now = self.site.reactor.seconds()
        if not (self._buffer or self._dataBuffer):
            HTTPChannel.requestDone(self, request)
        elif not self._meter.take(now):
            self._rest = self.callLater(self._meter.wait(now), self._go_on, request)
        elif self._turns.is_free():
            self._turns.do(self._go_to_the_next, request)
        else:
            self._answered = request
            self._turns.wait(self._turn_to_the_next)

    def _go_on(self, request: Request) -> None:
        self._rest = None
        self.requestDone(request)

    def _turn_to_the_next(self) -> None:
        request, self._answered = self._answered, None
        if request is not None:
            self._go_to_the_next(request)

    def _go_to_the_next(self, request: Request) -> None:
        """twisted.web gives itself what it has kept as if it were read now."""
        self._has_turn = True
        try:
            HTTPChannel.requestDone(self, request)
        finally:
            self._has_turn = False

    def rawDataReceived(self, data: bytes) -> None:
        """A piece of a body; or what the client sends while he waits for an answer.

        twisted.web goes on reading it, without a bound, from a client that does not read its answers.
        """
        HTTPChannel.rawDataReceived(self, data)
        if self._handlingRequest and sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()

    def _expect(self) -> None:
        self._stop_expecting()
        self._deadline = self.callLater(self._limits.request_seconds, self._be_late)

    def _stop_expecting(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _be_late(self) -> None:
        self._deadline = None
        if self.requests or self._buffer:
            self.refuse(408)
        else:
            self.timeoutConnection()

    def timeoutConnection(self) -> None:
        """Ends it; by force, if the client does not read what was written."""
        if self._abortingCall is None:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()  # type: ignore[no-untyped-call]

    def forceAbortClient(self) -> None:
        """Drops it."""
        self._abortingCall = None
        self.transport.abortConnection()

    # -- the head ------------------------------------------------------------------------------------------------------

    def lineReceived(self, line: bytes) -> None:
        """A line of a head."""
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(431)
        elif hygiene.of_line(line) is not None:
            self.refuse(400)
        else:
            HTTPChannel.lineReceived(self, line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line that does not end."""
        self.refuse(431)

    def fault(self, request: Request) -> str | None:
        """What is wrong with the head of a request, all of whose headers are there; None: nothing."""
        headers = request.requestHeaders
        hosts, codings = headers.getRawHeaders(b"host", []), headers.getRawHeaders(b"transfer-encoding", [])
        names = [name for name, _ in headers.getAllRawHeaders()]
        return hygiene.of_head(self._path, self._version, hosts, names, codings)

    def refuse(self, status: int) -> None:
        """Answers a request that is not read any further, and ends the connection."""
        self._stop_expecting()
        if self._abortingCall is None:
            self.transport.write(bare(status))
        self.timeoutConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400)

    # -- the end -------------------------------------------------------------------------------------------------------

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone."""
        self._stop_expecting()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._held, self._answered = b"", None
        self._uncount()
        HTTPChannel.connectionLost(self, reason)

    def hand_over(self) -> None:
        """The socket is a WebSocket's or a stream's from here on, which says when it has gone."""
        if self._counted:
            self._counted = False
            self._sockets.leave(self._place)
            self._sockets.enter(None)

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._sockets.leave(self._place)
