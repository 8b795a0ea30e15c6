"""`python -m livepush.daemon.conformance --port N`: what the public test suites of the protocols are run against.

The transports, session machines and codecs are the daemon's own; only what stands above them is not a hub but the test
applications that those suites ask for. There is no Django, no broker and nobody's data here: any page of any origin may
come, so it listens on 127.0.0.1 only.

    path                       what                                                suite
    ------------------------   -------------------------------------------------   ----------------------------------
    /ws-echo                   WebSocket: each message comes back, text or binary  the Autobahn Testsuite's (`kosoku`)
    /engine.io/                Engine.IO: each message comes back                  socketio/engine.io-protocol
    /socket.io/                Socket.IO, namespaces `/` and `/custom`: `Mirror`   socketio/socket.io-protocol
    /echo                      SockJS: each message comes back                     sockjs/sockjs-protocol
    /disabled_websocket_echo   the same, without WebSocket                         sockjs/sockjs-protocol
    /cookie_needed_echo        the same, with the cookie JSESSIONID                sockjs/sockjs-protocol
    /close                     SockJS: each session is closed at once              sockjs/sockjs-protocol

Timers are as short as the suites expect them: a ping every 300 ms, 200 ms for its pong, 1 s for CONNECT. A streaming
answer of SockJS ends after 4,096 bytes. The suite of SockJS also asks for the WebSocket of 2010 (hixie-76), which no
browser speaks any more: `test_haproxy` fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from livepush.daemon import upgrade
from livepush.daemon.engineio import EngineSession, EngineSettings
from livepush.daemon.engineioendpoint import EngineEndpoint
from livepush.daemon.entitlement import ChannelRule, Directory, Snapshot
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.link import WebSocketLink
from livepush.daemon.settings import Limits
from livepush.daemon.socketio import Member, SocketIO
from livepush.daemon.sockjs import SockJSEndpoint
from livepush.daemon.sockjsapp import SockJSSession, SockJSSettings
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.socketio import Kind, Packet

LOOPBACK = "127.0.0.1"
LIMITS = Limits(message_bytes=1_000_000, message_rate=100_000, message_burst=100_000)
TIMES = EngineSettings(interval=0.3, timeout=0.2, connect=1.0)
SOCKJS = SockJSSettings(
    response_bytes=4_096, legacy=True, client="/static/sockjs.min.js", cookie_needed=False, any_origin=True
)
NAMESPACES = ("/", "/custom")
AUTH_SECONDS = 0.02
"""Between the answer to CONNECT and `auth`: the suite misses the second of two messages that Node reads at once."""


class AnyOrigin:
    """Every page may come."""

    def verdict(self, origin: bytes | None, host: bytes | None, has_cookie: bool, secure: bool = False) -> str | None:
        """None: it may go on."""
        return None


class Nobody:
    """There are no users, and so all sessions are everybody's."""

    async def identify(self, cookies: str) -> Snapshot | None:
        """Nobody who may connect."""
        return None

    async def reidentify(self, snapshot: Snapshot) -> Snapshot | None:
        """Nobody."""
        return None

    async def may_return(self, snapshot: Snapshot) -> bool:
        """Nobody."""
        return False

    async def redeem(self, ticket: str) -> Snapshot | None:
        """Nobody's."""
        return None

    def binding(self, cookies: str) -> str:
        """No session."""
        return ""

    async def allows(self, snapshot: Snapshot, rule: ChannelRule, channel: str) -> bool:
        """Nothing."""
        return False


# -- WebSocket ---------------------------------------------------------------------------------------------------------


class EchoLink(WebSocketLink):
    """A WebSocket that says what it hears. From a peer that does not read it does not read either."""

    def opened(self, cookies: str) -> None:
        """No connection stands above it."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Sends the message back."""
        self.sendMessage(payload, isBinary)  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.pause_reading()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        if self.state != WebSocketProtocol.STATE_CLOSED:
            self.resume_reading()


class EchoEndpoint(Resource):
    """`/ws-echo`."""

    isLeaf = True

    def __init__(self, front: Front) -> None:
        Resource.__init__(self)
        self._front, self._links = front, upgrade.factory(front, EchoLink)

    def render(self, request: Request) -> bytes | int:
        """Refuses, or hands the transport over."""
        refusal = upgrade.refusal(request, self._front, None)
        if refusal is not None:
            return refusal
        upgrade.take_over(request, self._links)
        return NOT_DONE_YET


# -- Engine.IO ---------------------------------------------------------------------------------------------------------


class EngineEcho:
    """The application of an Engine.IO session: says what it hears. The session's queue is its bound."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    def message(self, data: str | bytes) -> None:
        """Sends the message back."""
        self._session.send(data if isinstance(data, bytes) else f"4{data}")

    def heard(self) -> None:
        """A sign of life."""

    def resume(self) -> None:
        """What is written goes out; the session keeps it until then."""

    def pause(self) -> None:
        """Nothing goes out now."""

    def moved(self) -> None:
        """To a WebSocket."""

    def closed(self, reason: str) -> None:
        """It is over."""


# -- Socket.IO ---------------------------------------------------------------------------------------------------------


class Mirror:
    """A client in a namespace.

    client                                      answer
    -----------------------------------------   ------------------------------------------------
    CONNECT, with or without an object          CONNECT with a `sid`, soon after it `auth` with the object
    `message`, any arguments                    `message-back` with the same
    `message-with-ack`, with a number           the acknowledgement with the same
    """

    def __init__(self, socketio: SocketIO, namespace: str, clock: IReactorTime) -> None:
        self._socketio, self._namespace, self._clock = socketio, namespace, clock
        self._timer: IDelayedCall | None = None

    @property
    def is_busy(self) -> bool:
        """Never."""
        return False

    def started(self, auth: Any) -> None:
        """Tells it that it is in, and what it said."""
        self._say(Kind.CONNECT, {"sid": f"{self._socketio.session.sid}{NAMESPACES.index(self._namespace)}"})
        self._timer = self._clock.callLater(AUTH_SECONDS, self._tell, auth or {})

    def _tell(self, auth: Any) -> None:
        self._timer = None
        self._say(Kind.EVENT, ["auth", auth])

    def event(self, name: str, arguments: list[Any], n: int | None) -> None:
        """Sends the arguments back."""
        if name == "message":
            self._say(Kind.EVENT, ["message-back", *arguments])
        elif name == "message-with-ack" and n is not None:
            self._say(Kind.ACK, arguments, n)

    def _say(self, kind: Kind, data: Any, n: int | None = None) -> None:
        self._socketio.send(Packet(kind, self._namespace, data, n))

    def heard(self) -> None:
        """A sign of life."""

    def resume(self) -> None:
        """What is written goes out; the session keeps it until then."""

    def pause(self) -> None:
        """Nothing goes out now."""

    def moved(self) -> None:
        """To a WebSocket."""

    def closed(self, reason: str) -> None:
        """It is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _mirrors(front: Front, times: EngineSettings) -> EngineEndpoint:
    def accept(socketio: SocketIO, namespace: str) -> Member | None:
        return Mirror(socketio, namespace, front.clock) if namespace in NAMESPACES else None

    def make(session: EngineSession) -> SocketIO:
        return SocketIO(session, accept, front.limits, front.clock, times.connect)

    return EngineEndpoint(front, make, times)


# -- SockJS ------------------------------------------------------------------------------------------------------------


class SockJSEcho:
    """The application of a SockJS session: says what it hears."""

    def __init__(self, session: SockJSSession, cookies: str, query: Mapping[str, str]) -> None:
        self._session = session

    def opened(self) -> None:
        """The client knows that the session is open."""

    def message(self, payload: bytes) -> None:
        """Sends the message back."""
        self._session.send(payload.decode())

    def heard(self) -> None:
        """A sign of life."""

    def pause(self) -> None:
        """Nothing goes out now."""

    def resume(self) -> None:
        """What is written goes out; the session keeps it until then."""

    def closed(self) -> None:
        """It is over."""


class SockJSClose(SockJSEcho):
    """The application of a SockJS session: ends it."""

    def opened(self) -> None:
        """With the code of the suite."""
        self._session.finish(3000, "Go away!")


# -- the server --------------------------------------------------------------------------------------------------------


def applications(front: Front, times: EngineSettings = TIMES) -> dict[str, IResource]:
    """All test applications, by path."""
    return {
        "/ws-echo": EchoEndpoint(front),
        "/engine.io": EngineEndpoint(front, EngineEcho, times),
        "/socket.io": _mirrors(front, times),
        "/echo": SockJSEndpoint(front, SockJSEcho, SOCKJS),
        "/disabled_websocket_echo": SockJSEndpoint(front, SockJSEcho, replace(SOCKJS, websocket=False)),
        "/cookie_needed_echo": SockJSEndpoint(front, SockJSEcho, replace(SOCKJS, cookie_needed=True, jsessionid=True)),
        "/close": SockJSEndpoint(front, SockJSClose, SOCKJS),
    }


def listen(reactor: Any, port: int, times: EngineSettings = TIMES) -> Any:
    """Serves them on 127.0.0.1.

    Args:
        reactor: that serves.
        port: 0: any that is free.
        times: of Engine.IO.

    Returns:
        The listening port.
    """
    front = Front(Hub(Directory(()), reactor), Nobody(), AnyOrigin(), LIMITS, reactor, lambda: True)
    web = Web(resources(applications(front, times), Status()), reactor, front.admission)
    listening = reactor.listenTCP(port, web, interface=LOOPBACK)
    listening.transport = EagerServer
    return listening


def main(arguments: Sequence[str]) -> None:
    """Serves until SIGINT or SIGTERM; the first line that it writes is its address."""
    from twisted.internet import reactor

    parser = argparse.ArgumentParser(
        prog="python -m livepush.daemon.conformance", description="serves what the protocols' test suites ask for"
    )
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; without it any that is free")
    parser.add_argument(
        "--patient", action="store_true", help="with Engine.IO's usual times in place of those that its suite expects"
    )
    options = parser.parse_args(arguments)
    host = listen(reactor, options.port, EngineSettings() if options.patient else TIMES).getHost()
    sys.stdout.write(f"http://{host.host}:{host.port}\n")
    sys.stdout.flush()
    cast(Any, reactor).run()


if __name__ == "__main__":
    main(sys.argv[1:])
