"""Livepush above SockJS: a session that carries a `Connection`, of the native messages or the classic ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from livepush.broker.names import is_channel
from livepush.daemon.connection import Connection
from livepush.daemon.entitlement import Directory
from livepush.daemon.front import Front
from livepush.daemon.interfaces import Encoder
from livepush.daemon.sockjsapp import Application, Carrier, Make, SockJSSession
from livepush.wire import sockjspush
from livepush.wire.native import NativeCodec

NATIVE: dict[Carrier, Encoder] = {
    Carrier.HTTP: sockjspush.NATIVE_HTTP,
    Carrier.WEBSOCKET: sockjspush.NATIVE_WEBSOCKET,
    Carrier.RAW: sockjspush.NATIVE_RAW,
}
CLASSIC: dict[Carrier, Encoder] = {
    Carrier.HTTP: sockjspush.CLASSIC_HTTP,
    Carrier.WEBSOCKET: sockjspush.CLASSIC_WEBSOCKET,
    Carrier.RAW: sockjspush.CLASSIC_RAW,
}

_NATIVE_CODEC = NativeCodec()
_CLASSIC_CODEC = sockjspush.ClassicCodec()
_TAB = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Push:
    """The application of one session."""

    __slots__ = ("_connection", "_cookies", "_front")

    def __init__(self, front: Front, connection: Connection, cookies: str) -> None:
        self._front, self._connection, self._cookies = front, connection, cookies

    def opened(self) -> None:
        """From here on the connection is identified."""
        cookies, self._cookies = self._cookies, ""
        self._front.heartbeat.add(self._connection)
        self._connection.opened(cookies)

    def message(self, payload: bytes) -> None:
        """A request."""
        self._connection.received(payload)

    def heard(self) -> None:
        """The client is there."""
        self._connection.heard = True

    def pause(self) -> None:
        """What comes now waits in the connection."""
        self._connection.pauseProducing()

    def resume(self) -> None:
        """It goes on."""
        self._connection.resumeProducing()

    def closed(self) -> None:
        """The session is over."""
        self._connection.closed()
        self._front.heartbeat.discard(self._connection)


def native(front: Front) -> Make:
    """Sessions whose clients say hello, and speak the native messages."""

    def make(session: SockJSSession, cookies: str, query: Mapping[str, str]) -> Application:
        encoder = NATIVE[session.carrier]
        connection = Connection(front.hub, front.identity, encoder, _NATIVE_CODEC, front.limits, session)
        return Push(front, connection, cookies)

    return make


def classic(front: Front, prefix: str) -> Make:
    """Sessions whose clients listen to the declared channels; the query's field `tab` names the page's tab.

    Args:
        front: of this process.
        prefix: such as `/orders`; if a channel or some above it have that name, only those.
    """
    below = narrowed(front.hub.directory, prefix)

    def make(session: SockJSSession, cookies: str, query: Mapping[str, str]) -> Application:
        encoder = CLASSIC[session.carrier]
        hub, limits = front.hub, front.limits
        connection = Connection(hub, front.identity, encoder, _CLASSIC_CODEC, limits, session, False, below)
        tab = query.get("tab", "")
        if _TAB.fullmatch(tab):
            connection.tab = tab
        return Push(front, connection, cookies)

    return make


def narrowed(directory: Directory, prefix: str) -> str | None:
    """The channel that a prefix has the name of, declared itself or by channels below it; None: none."""
    name = prefix.strip("/")
    if not is_channel(name):
        return None
    declared = (rule.pattern.text for rule in directory.rules)
    return name if any(f"{text}.".startswith(f"{name}.") for text in declared) else None
