"""Whole servers in memory, given bytes: the embedded broker, and the daemon's HTTP with all of its transports.

What they answer is not looked at. They must not raise, log no failure, and have nothing left to do when their client
has gone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from pika import spec
from pika.frame import Method
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from livepush.daemon.front import Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.service import transports
from livepush.daemon.settings import Limits
from livepush.daemon.status import Status
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.fuzz.inputs import pieces, spoiled
from tests.fuzz.targets import TARGETS, target
from tests.unit.broker.embedded.client import HELLO, Client, login, make_broker, marshalled, publish, tune
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

_LOUD = (LogLevel.error, LogLevel.critical)


@contextmanager
def no_failures() -> Iterator[None]:
    """What is logged as a failure inside is one."""
    found: list[str] = []

    @implementer(ILogObserver)
    def look(event: LogEvent) -> None:
        if "log_failure" in event or event.get("log_level") in _LOUD:
            failure = event.get("log_failure")
            found.append(str(event.get("log_format")) if failure is None else failure.getTraceback())

    globalLogPublisher.addObserver(look)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(look)
    if found:
        raise AssertionError(found[0])


# -- the embedded broker -----------------------------------------------------------------------------------------------

_FIRST = (HELLO, login(), tune(), Method(0, spec.Connection.Open("/")), spec.Channel.Open())
_OPENING = b"".join(map(marshalled, _FIRST))
_CONVERSATIONS = tuple(
    b"".join(map(marshalled, frames))
    for frames in (
        (spec.Exchange.Declare(exchange="x", type="topic"), spec.Queue.Declare(queue="q", exclusive=True)),
        (
            spec.Queue.Declare(queue="q"),
            spec.Queue.Bind(queue="q", exchange="amq.topic", routing_key="a.#"),
            publish(b"body"),
        ),
        (
            spec.Queue.Declare(queue="q"),
            spec.Basic.Consume(queue="q"),
            publish(b"body"),
            spec.Basic.Ack(delivery_tag=1),
        ),
        (
            spec.Queue.Declare(queue="s", durable=True, arguments={"x-queue-type": "stream", "x-max-age": "600s"}),
            spec.Basic.Qos(prefetch_count=10),
            spec.Basic.Consume(queue="s", arguments={"x-stream-offset": "first"}),
            publish(b"body", "s"),
        ),
        (spec.Confirm.Select(), publish(b"x" * 100, "nowhere", mandatory=True), spec.Channel.Close(200, "bye", 0, 0)),
    )
)


@target(pieces(st.builds(bytes.__add__, st.just(_OPENING), spoiled(*_CONVERSATIONS)) | spoiled(_OPENING)))
def embedded_broker(chunks: list[bytes]) -> None:
    """Whatever its client sends, it is answered, refused or dropped, and the next one is served."""
    with no_failures():
        broker = make_broker()
        client = Client(broker)
        for chunk in chunks:
            if not client.gone:
                client.send(chunk)
        client.lose()
        Client(broker).log_in()


# -- the daemon's HTTP -------------------------------------------------------------------------------------------------


class Wire(StringTransport):
    """A transport in memory which, as those of sockets, has nothing against a producer that is unregistered twice.

    Attributes:
        protocol: whose it is; after an upgrade another one's.
    """

    protocol: Any = None

    def unregisterProducer(self) -> None:
        """There is none any more."""
        if self.producer is not None:
            super().unregisterProducer()  # type: ignore[no-untyped-call]


_LIMITS = Limits(message_bytes=4_096, outbound_bytes=65_536)
_COMMON = b"Host: testserver\r\nCookie: sessionid=anna\r\nOrigin: http://testserver\r\n"
_UPGRADE = _COMMON + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_UPGRADE += b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))


def _masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client, with a mask of zeros, so that what it says can be edited."""
    head = bytes([0x80 | opcode, 0x80 | len(payload)]) if len(payload) < 126 else bytes([0x80 | opcode, 254])
    return head + (b"" if len(payload) < 126 else len(payload).to_bytes(2, "big")) + bytes(4) + payload


def _post(path: bytes, body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (path, _COMMON, len(body), body)


def _socket(path: bytes, *frames: bytes, more: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\n%s%s\r\n\r\n" % (path, _UPGRADE, more) + b"".join(frames)


_HELLO = b'{"op":"hello","n":0,"channels":{"orders":null}}'
_REQUESTS = (
    b"GET /livepush/sse?channels=orders&tab=t1 HTTP/1.1\r\n" + _COMMON + b"Last-Event-ID: me.5.17.abcdefgh\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" + _COMMON + b"\r\n",
    b"GET /orders/info HTTP/1.1\r\n" + _COMMON + b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    _post(b"/orders/0/a/xhr", b"") + _post(b"/orders/0/a/xhr_send", b'["{}"]') + _post(b"/orders/0/a/xhr", b""),
    _post(b"/livepush/sockjs/0/b/xhr_streaming", b""),
    b"GET /orders/0/c/jsonp?c=f HTTP/1.1\r\n" + _COMMON + b"\r\n",
    b"POST /orders/0/d/xhr HTTP/1.1\r\n" + _COMMON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    _socket(
        b"/livepush/ws",
        _masked(1, _HELLO),
        _masked(1, b'{"op":"call","n":1,"channel":"orders","type":"x","data":{}}'),
        _masked(9, b"ping"),
        _masked(8, b"\x03\xe8"),
        more=b"\r\nSec-WebSocket-Protocol: livepush.v1",
    ),
    _socket(b"/socket.io/?EIO=4&transport=websocket", _masked(1, b"40"), _masked(1, b'42["login"]'), _masked(2, b"x")),
    _socket(b"/livepush/sockjs/0/e/websocket", _masked(1, b'["{\\"op\\":\\"hello\\"}"]')),
    _socket(b"/orders/websocket", _masked(1, b"x"), _masked(10, b"")),
)


@target(pieces(spoiled(*_REQUESTS)))
def http(chunks: list[bytes]) -> None:
    """Whatever a client of the daemon sends, nothing breaks, and when it has gone no connection is left of it."""
    clock = MemoryReactorClock()
    hub = make_hub(clock)
    origins = OriginSettings(allowed=("http://testserver",), trusted=(), hosts=(), https_only=False)
    front = Front(hub, FakeIdentity(make_client()), origins, _LIMITS, clock, lambda: True)
    web = Web(resources(transports(front, ("/orders",), True), Status(connections=lambda: hub.connections)), clock)
    web.startFactory()
    try:
        with no_failures():
            address = IPv4Address("TCP", "10.0.0.1", 4000)
            transport = Wire(peerAddress=address)
            transport.protocol = web.buildProtocol(address)
            transport.protocol.makeConnection(transport)
            for chunk in chunks:
                if not transport.disconnecting:
                    transport.protocol.dataReceived(chunk)
            transport.protocol.connectionLost(Failure(ConnectionDone()))
            clock.pump([1.0] * 120)
            hub.close_all(Close.GOING_AWAY, "over")
            clock.pump([1.0] * 10)
            if hub.connections:
                raise AssertionError(f"{hub.connections} connections are left")
    finally:
        web.stopFactory()


__all__ = ["TARGETS"]
