"""`/livepush/sse`: a stream of server-sent events on the transport of its request.

    asked          answer
    ------------   -----------------------------------------------------------------------------------------------------
    what is bad    400, 403, 405 in plain text: the browser gives up
    too early,     200 and a stream that ends at once, with the time to wait: a browser comes back after a stream that
    too many       ended, and after no other answer
    of a visitor   nothing is sent before he is known: 403 if nothing is open to him, else the stream. It has no length
                   and ends with its TCP connection, so that an event is the same bytes for all streams and one write

The client says nothing more, so that TCP is the only sign of life: what is sent and not acknowledged for two heartbeats
ends the connection, where the kernel has such an option.
"""

from __future__ import annotations

import random
import socket
from http import HTTPStatus
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from livepush.broker.names import is_channel
from livepush.daemon import cors
from livepush.daemon.connection import Connection
from livepush.daemon.front import Front
from livepush.daemon.origin import only_value
from livepush.daemon.response import plain
from livepush.daemon.upgrade import cookies_of, hand_over
from livepush.wire.closing import Close
from livepush.wire.errors import BadMessage
from livepush.wire.native import NativeCodec
from livepush.wire.requests import Hello
from livepush.wire.sse import SSEEncoder, close_block, hello_of, retry_block

CLOSE_SECONDS = 2.0
"""How long what was written last may take before the connection is dropped."""

SPREAD = 10
"""A browser waits between the least of `Limits.retry_ms` and so many times it: it knows no jitter of its own."""

ENCODER = SSEEncoder()
_CODEC = NativeCodec()
_REFUSED = {Close.IDENTITY: HTTPStatus.FORBIDDEN, Close.FORBIDDEN: HTTPStatus.FORBIDDEN}

Headers = list[tuple[bytes, bytes]]


@implementer(IPushProducer)
class StreamLink(Protocol):
    """One stream; the transport's producer, so that it hears when the peer does not read.

    Args:
        front: of this process.
        headers: of the answer, whatever it will be.
        place: where the client is.
    """

    transport: Any

    def __init__(self, front: Front, headers: Headers, place: str | None) -> None:
        self._front, self._headers, self.place = front, headers, place
        self._begun = self._closing = False
        self._dropping: IDelayedCall | None = None
        self._connection: Connection | None = None

    def serve(self, cookies: str, hello: Hello) -> None:
        """The transport is this link's: finds out who asks, and what he may hear."""
        front = self._front
        _bound_silence(self.transport, 2 * front.limits.heartbeat_seconds)
        connection = Connection(front.hub, front.identity, ENCODER, _CODEC, front.limits, self)
        self._connection = connection
        front.heartbeat.add(connection)
        connection.opened(cookies)
        connection.request(hello)

    def dataReceived(self, data: bytes) -> None:
        """A stream is not spoken to; what comes is thrown away."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has gone, or the stream has ended."""
        self._front.admission.sockets.leave(None)
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()
            self._front.heartbeat.discard(connection)

    # -- as `connection.Link` ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Whole blocks. The first ones come with what was granted."""
        if not self._begun:
            connection = self._connection
            if connection is not None and not connection.channels:
                connection.close(Close.FORBIDDEN, "none of these channels is open to you")
                return
            data = self._begin() + data
        self.transport.write(data)

    def close(self, code: Close, reason: str) -> None:
        """The end of the stream, or an answer in its place."""
        if self._closing:
            return
        self._closing = True
        if self._begun:
            end = close_block(code, reason)
        elif code.reconnects:
            end = self._begin() + close_block(code, reason)
        else:
            end = self._refusal(_REFUSED.get(code, HTTPStatus.BAD_REQUEST), reason)
        self.transport.write(end)
        self.transport.unregisterProducer()  # for one that is paused the transport would wait for ever
        self.transport.loseConnection()
        self._dropping = self._front.clock.callLater(CLOSE_SECONDS, self._drop)

    def abort(self) -> None:
        """Drops the connection at once."""
        self.transport.abortConnection()

    def ping(self) -> None:
        """Nobody would answer: TCP ends what has gone."""
        if self._connection is not None:
            self._connection.heard = True

    def pause_reading(self) -> None:
        """Nothing is read; but that the client has gone must be seen."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    # -- as the transport's producer -----------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        if self._connection is not None:
            self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        if self._connection is not None:
            self._connection.resumeProducing()

    def stopProducing(self) -> None:
        """The transport has gone; `connectionLost` follows."""

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        self._begun = True
        headers, self._headers = self._headers, []
        return _head(HTTPStatus.OK, [*headers, *STREAM]) + retry_block(_wait(self._front))

    def _refusal(self, status: HTTPStatus, reason: str) -> bytes:
        body = f"Refused: {reason}\n".encode()
        more = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", str(len(body)).encode())]
        return _head(status, [*self._headers, *more, (b"Cache-Control", b"no-store")]) + body

    def _drop(self) -> None:
        self._dropping = None
        self.abort()


STREAM: Headers = [
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-store, no-transform"),  # nothing on the way compresses it, and so waits for more
    (b"X-Accel-Buffering", b"no"),  # nginx hands on each write
]
"""What every stream's answer says."""


class SSEEndpoint(Resource):
    """`/livepush/sse`."""

    isLeaf = True

    def __init__(self, front: Front) -> None:
        Resource.__init__(self)
        self._front = front

    def render(self, request: Request) -> bytes | int:
        """Refuses, or begins the stream."""
        if cast(Any, request).postpath:
            return plain(request, 404, "There is nothing here.")
        if request.method != b"GET":
            return plain(request, 405, "A stream begins with GET.", {"Allow": "GET"})
        if request.clientproto not in (b"HTTP/1.1", b"HTTP/1.0"):
            return plain(request, 505, "A stream needs HTTP/1.1.")
        why = cors.refusal(request, self._front.origins)
        if why is not None:
            return plain(request, 403, f"Refused: {why}")
        cors.allow(request)
        try:
            hello = hello_of(request.args or {}, only_value(request.requestHeaders.getRawHeaders(b"last-event-id")))
        except BadMessage as error:
            return plain(request, 400, f"Refused: {error.why}")
        for channel in hello.channels or ():
            if not is_channel(channel):
                return plain(request, 400, "Refused: no channel has such a name")
        if len(hello.channels or ()) > self._front.limits.subscriptions:
            return plain(request, 400, "Refused: so many channels a stream can't have")
        place = self._front.admission.place(request)
        if self._front.closed_because(place) is not None:
            for name, value in STREAM:
                request.setHeader(name, value)
            return retry_block(_wait(self._front))
        headers = [(name, value) for name, values in request.responseHeaders.getAllRawHeaders() for value in values]
        link = StreamLink(self._front, headers, place)
        hand_over(request, link)
        link.serve(cookies_of(request), hello)
        return NOT_DONE_YET


def _wait(front: Front) -> int:
    least, most = front.limits.retry_ms
    return random.randint(least, min(most, SPREAD * least))  # noqa: S311 - spreads clients, guards nothing


def _head(status: HTTPStatus, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"Connection: close"]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _bound_silence(transport: Any, seconds: float) -> None:
    """What is not acknowledged in time ends the connection; without the option the kernel's own patience does."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and isinstance(handle, socket.socket) and handle.family != socket.AF_UNIX:
        handle.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
