"""What SockJS sessions are made for: the application above them, and their bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from livepush.daemon.interfaces import Link


class Carrier(Enum):
    """In what form a session takes what `write` is given."""

    HTTP = auto()  # pieces of an array
    WEBSOCKET = auto()  # WebSocket frames, each with an array
    RAW = auto()  # WebSocket frames, each with a message


@dataclass(frozen=True, slots=True)
class SockJSSettings:
    """What is served at one prefix, and its bounds.

    Attributes:
        response_bytes: of one streaming answer; then the client asks anew.
        disconnect_seconds: how long a session lives without a receiver, and how long it is remembered when it is over.
        legacy: serve jsonp and htmlfile, and with `client` the iframe.
        client: the address of sockjs-client, which the iframe loads; None: there is no iframe.
        websocket: serve WebSockets.
        cookie_needed: `info` says that clients have to send cookies, so that they choose no transport that can't.
        jsessionid: answers set the cookie JSESSIONID, by which some load balancers find the process again.
        any_origin: answers without an Origin may be read by every page: where nobody has a cookie.
    """

    response_bytes: int = 131_072
    disconnect_seconds: float = 5.0
    legacy: bool = False
    client: str | None = None
    websocket: bool = True
    cookie_needed: bool = True
    jsessionid: bool = False
    any_origin: bool = False


class SockJSSession(Link, Protocol):
    """One session, as the application above sees it: a link, on which `write` is called only while it is not paused.

    Attributes:
        carrier: what `write` takes.
    """

    carrier: Carrier

    def send(self, text: str) -> None:
        """One message, which waits in a queue without bound as long as there is no receiver: for tests of SockJS."""

    def finish(self, code: int, reason: str) -> None:
        """Ends it, as `close` does, with any code."""


class Application(Protocol):
    """What is above a session."""

    def opened(self) -> None:
        """The client knows that the session is open."""

    def message(self, payload: bytes) -> None:
        """One message of the client, in UTF-8."""

    def heard(self) -> None:
        """The client has given a sign of life."""

    def pause(self) -> None:
        """Nothing is to be written until `resume`; may come before `opened`."""

    def resume(self) -> None:
        """What is written goes out."""

    def closed(self) -> None:
        """The session is over. The last call."""


Make = Callable[[SockJSSession, str, Mapping[str, str]], Application]
"""Makes the application of a new session: of the session, the Cookie header and the query of its first request."""
