"""One SockJS session over HTTP: the state machine of `livepush.wire.sockjssession` with its timer and its requests.

What leaves is written while a receiver is there and its client reads. The application is told when that begins and ends
(`resume`, `pause`), so that events stay with the connection, which can take them back and tell their loss; one turn's
write is one frame. A POST that comes while the application wants nothing more waits, one at a time.

    no receiver                `disconnect_seconds`, then the session is over
    a stream                   `STREAM_BEATS` heartbeats, then the client has to show that it is there, by asking anew;
                               until then that its side of TCP takes what is written counts as a sign of life
    over                       `disconnect_seconds`, in which whoever asks is told so; then it is forgotten
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import Request

from livepush.daemon.sockjsapp import Application, Carrier, SockJSSettings
from livepush.daemon.sockjsreceiver import Receiver
from livepush.wire import sockjs, sockjshttp
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.sockjshttp import JSONP_SEND, Kind
from livepush.wire.sockjspush import RELOAD
from livepush.wire.sockjssession import Phase, Refused, Session

STREAM_BEATS = 10


class HttpSession:
    """One session.

    Args:
        settings: of its prefix.
        most: bytes of one message of the client.
        clock: for its timer.
        visitor: whoever opened it.
        forget: called when it is to be found no more.
        place: where the visitor is.

    Attributes:
        visitor: requests of anybody else do not find it.
        app: what is above it.
    """

    __slots__ = (
        "_clock",
        "_deaf",
        "_forget",
        "_most",
        "_parked",
        "_queue",
        "_receiver",
        "_settings",
        "_timer",
        "app",
        "machine",
        "place",
        "visitor",
    )

    app: Application
    carrier = Carrier.HTTP

    def __init__(
        self,
        settings: SockJSSettings,
        most: int,
        clock: IReactorTime,
        visitor: str,
        forget: Callable[[], None],
        place: str | None = None,
    ) -> None:
        self.visitor, self.place = visitor, place
        self.machine = Session()
        self._settings, self._most, self._clock, self._forget = settings, most, clock, forget
        self._receiver: Receiver | None = None
        self._queue: list[bytes] = []  # of `send`
        self._parked: tuple[Request, Kind] | None = None
        self._deaf = False
        self._timer: IDelayedCall | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is only remembered."""
        return self.machine.phase is Phase.CLOSED

    # -- requests ------------------------------------------------------------------------------------------------------

    def receive(self, receiver: Receiver) -> None:
        """A receiver has come."""
        try:
            first = self.machine.attach()
        except Refused as refused:
            receiver.write(refused.frame)
            receiver.finish()
            return
        self._stop_timer()
        self._receiver = receiver
        receiver.serve(self)
        self.app.heard()
        if first:
            receiver.write(first)
            self.app.opened()
            return
        self._flush()
        self._resume()

    def post(self, request: Request, kind: Kind) -> None:
        """Messages have come; they are answered when they were taken."""
        if self._deaf and not self.is_over:
            if self._parked is not None:
                answer(request, 503, b"One request after the other.\n")
                return
            self._parked = (request, kind)
            request.notifyFinish().addErrback(self._unpark, request)
            return
        content = request.content
        body = b"" if content is None else content.read()
        try:
            if kind is JSONP_SEND and _is_form(request):
                body = sockjshttp.read_form(body)
            messages = sockjs.read_array(body, self._most) if body else None
        except sockjs.TooLarge as error:
            answer(request, 413, error.why.encode() + b"\n")
            self.close(Close.TOO_LARGE, error.why)
            return
        except BadMessage:
            answer(request, 500, b"Broken JSON encoding.\n")
            return
        if messages is None:
            answer(request, 500, b"Payload expected.\n")
            return
        if kind is JSONP_SEND:
            answer(request, 200, b"ok")
        else:
            answer(request, 204, b"")
        self._take(messages)

    def _take(self, messages: list[bytes]) -> None:
        if not self.is_over:
            self.app.heard()
        for message in messages:
            if self.is_over:
                return
            self.app.message(message)

    def _unpark(self, _: Any, request: Request) -> None:
        if self._parked is not None and self._parked[0] is request:
            self._parked = None

    # -- as the receiver's owner ---------------------------------------------------------------------------------------

    def answered(self) -> None:
        """The receiver is full: the next one may come."""
        self._receiver = None
        self.machine.detach()
        self._set_timer(self._expire)
        self.app.pause()

    def lost(self) -> None:
        """Its client has gone; nobody knows what has reached it."""
        self._receiver = None
        self.machine.detach()
        self._expire()

    def block(self) -> None:
        """The client does not read."""
        self.app.pause()

    def unblock(self) -> None:
        """It reads again."""
        self._resume()

    def _resume(self) -> None:
        if self._receiver is not None and not self._receiver.blocked:
            self.app.resume()

    # -- as `sockjsapp.SockJSSession` ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Joined pieces of an array, or one that ends the session."""
        receiver = self._receiver
        if receiver is None:
            return  # it is over
        pieces, end, _ = data.partition(sockjs.END)
        if pieces:
            receiver.write(sockjs.array(pieces))
        if end:
            self.close(Close.HOLE, RELOAD)

    def send(self, text: str) -> None:
        """One message."""
        self._queue.append(sockjs.message_piece(text.encode()))
        self._flush()

    def _flush(self) -> None:
        if self._queue and self._receiver is not None:
            pieces, self._queue = b"".join(self._queue), []
            self._receiver.write(sockjs.array(pieces))

    def close(self, code: Close, reason: str) -> None:
        """Ends it."""
        self.finish(int(code), reason)

    def finish(self, code: int, reason: str) -> None:
        """Ends it; whoever still asks, for a while, is told so."""
        if self.is_over:
            return
        frame = self.machine.close(code, reason)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.serve(_NOBODY)
            receiver.write(frame)
            receiver.finish()
        self._end()
        self._set_timer(self._forget_now)

    def abort(self) -> None:
        """Ends it without a word, and forgets it."""
        self._stop_timer()
        if not self.is_over:
            self.machine.close(1006, "")
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                receiver.abort()
            self._end()
        self._forget()

    def ping(self) -> None:
        """A sign of life, which polls answer with the next poll."""
        receiver = self._receiver
        if receiver is None or receiver.blocked:
            return
        self.app.heard()
        receiver.beats += 1
        receiver.write(sockjs.HEARTBEAT)
        if receiver.beats >= STREAM_BEATS:
            receiver.end()

    def pause_reading(self) -> None:
        """No more messages than those that have come."""
        self._deaf = True

    def resume_reading(self) -> None:
        """Goes on."""
        self._deaf = False
        self._post_parked()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        self._timer = None
        if self.machine.phase is not Phase.CLOSED:
            self.machine.close(1002, "Connection interrupted")
            self._end()
        self._forget()

    def _end(self) -> None:
        self._queue.clear()
        parked, self._parked = self._parked, None
        if parked is not None:
            answer(parked[0], 404, b"This session is over.\n")  # its messages were not taken
        self.app.closed()

    def _post_parked(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None:
            self.post(*parked)

    def _forget_now(self) -> None:
        self._timer = None
        self._forget()

    def _set_timer(self, call: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(self._settings.disconnect_seconds, call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Nobody:
    """The owner of a receiver whose session is over."""

    def answered(self) -> None:
        """Nothing follows."""

    lost = block = unblock = answered


_NOBODY = _Nobody()


def answer(request: Request, status: int, body: bytes) -> None:
    """A short answer, whole."""
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=UTF-8")
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    request.finish()


def _is_form(request: Request) -> bool:
    kind = request.getHeader(b"content-type") or b""  # by bytes: others may be no UTF-8
    return kind.partition(b";")[0].strip().lower() == b"application/x-www-form-urlencoded"
