"""Engine.IO, protocol version 4: one session of packets over HTTP long polling or a WebSocket. Bytes in, events out.

A packet is one character of type, and data:

    type        who    data and meaning
    ---------   ----   -----------------------------------------------------------------------------------------------
    0 open      S      {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}: the first packet of a session;
                       milliseconds and bytes; `upgrades` is ["websocket"] while polling, else []
    1 close     both   the session is over; a poll that waits is answered with it, or with 6 if the client said it
    2 ping      S      every `pingInterval`; without a pong within `pingTimeout` the session is over
                C      "2probe", on the WebSocket of an upgrade
    3 pong      C      the answer to a ping
                S      "3probe", the answer to a probe
    4 message   both   text of the protocol above
    5 upgrade   C      on the WebSocket: from here on the session is there and nowhere else
    6 noop      S      nothing: lets a poll that waits go, before an upgrade

On a WebSocket a packet is a text message; a binary message is a packet of type 4 without the 4. In HTTP bodies packets
are joined by U+001E and binary ones are `b` and base64; that character never stands in JSON, which escapes it. A poll
is a GET, answered when there is something; a POST brings packets and is answered `ok`.

    phase       polls and POSTs                     packets of the WebSocket               goes on when
    ---------   ---------------------------------   ------------------------------------   --------------------------
    POLLING     answered; a second poll beside      2probe: a poll that waits is let go    probed: UPGRADING
                the first ends the session
    UPGRADING   a poll is answered 6: what is to    5; anything else ends the session      5: WEBSOCKET; the socket
                be sent waits for the WebSocket                                            closes: POLLING again
    WEBSOCKET   refused                             all                                    the socket closes: CLOSED
    CLOSED      refused                             none

Source: https://socket.io/docs/v4/engine-io-protocol/ (version 4). What breaks it is `BadMessage`, which ends the
session.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from livepush.wire.errors import BadMessage
from livepush.wire.frame import binary_frame, text_frame

VERSION = "4"
SEPARATOR = "\x1e"
CLOSE, PING, NOOP, PROBED = "1", "2", "6", "3probe"
PACKETS_A_BODY = 1_000
"""Packets of one POST; the stock client sends what gathered while its last POST was on the way."""


class Phase(Enum):
    """Where a session is carried; see the table above."""

    POLLING = auto()
    UPGRADING = auto()
    WEBSOCKET = auto()
    CLOSED = auto()


class Refused(Exception):
    """A request that this session does not take now, and that the HTTP status 400 answers; the session may go on."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message for the protocol above: text, or bytes."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Ponged:
    """The client answered a ping."""


@dataclass(frozen=True, slots=True)
class Probed:
    """An upgrade has begun: `3probe` goes to the WebSocket, a poll that waits is answered `6`."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The session is on the WebSocket now; what was queued goes there, in order."""


@dataclass(frozen=True, slots=True)
class Left:
    """The client has ended the session; a poll that waits is answered `6`."""


Event = Message | Ponged | Probed | Upgraded | Left


class Session:
    """One session's state machine. Timers, sockets and queues are its owner's.

    Attributes:
        phase: where it is carried.
        waits: whether a poll is open.
    """

    __slots__ = ("phase", "waits")

    def __init__(self, phase: Phase) -> None:
        """In the phase POLLING or WEBSOCKET."""
        self.phase = phase
        self.waits = False

    def poll(self) -> bool:
        """A GET has come, which waits from here on until `answered`.

        Returns:
            Whether it is to be answered with `NOOP` at once.

        Raises:
            Refused: there is nothing to poll here any more.
            BadMessage: another one waits; the session is to be closed, and this one answered 400.
        """
        if self.phase is Phase.WEBSOCKET or self.phase is Phase.CLOSED:
            raise Refused
        if self.waits:
            raise BadMessage("a second poll beside the first")
        self.waits = self.phase is Phase.POLLING
        return not self.waits

    def answered(self) -> None:
        """The poll was answered, or its client has gone."""
        self.waits = False

    def posted(self, body: bytes) -> Iterable[Event]:
        """What a POST brings; the iteration stops at what ends the session.

        Raises:
            Refused: POSTs are not taken here any more.
            BadMessage: no packets; also while iterating.
        """
        if self.phase is Phase.WEBSOCKET or self.phase is Phase.CLOSED:
            raise Refused
        return self._packets(decode_body(body))

    def _packets(self, packets: list[str | bytes]) -> Iterable[Event]:
        for packet in packets:
            if self.phase is Phase.CLOSED:
                return
            yield self._event(packet)

    def attach(self) -> None:
        """A second transport, a WebSocket, names this session.

        Raises:
            Refused: it is on one already, or another one is about to take it.
        """
        if self.phase is not Phase.POLLING:
            raise Refused

    def framed(self, message: str | bytes) -> Event:
        """One message of its WebSocket: the one that carries it, or that wants to.

        Raises:
            BadMessage: no packet that may come now.
        """
        if self.phase is Phase.WEBSOCKET:
            if isinstance(message, bytes):
                return Message(message)
            return self._event(message)
        if self.phase is Phase.POLLING and message == "2probe":
            self.phase = Phase.UPGRADING
            return Probed()
        if self.phase is Phase.UPGRADING and message == "5":
            self.phase = Phase.WEBSOCKET
            return Upgraded()
        raise BadMessage("this packet has no place in an upgrade")

    def detached(self) -> bool:
        """Its WebSocket has closed; returns whether the session is over with it."""
        if self.phase is Phase.UPGRADING:
            self.phase = Phase.POLLING
        return self.phase is not Phase.POLLING

    def close(self) -> None:
        """It is over."""
        self.phase = Phase.CLOSED

    def _event(self, packet: str | bytes) -> Event:
        if isinstance(packet, bytes):
            return Message(packet)
        if packet[:1] == "4":
            return Message(packet[1:])
        if packet == "3":
            return Ponged()
        if packet == "1":
            return Left()
        raise BadMessage("a client sends no such packet")


def open_packet(sid: str, phase: Phase, interval: float, timeout: float, most: int) -> str:
    """The first packet of a session.

    Args:
        sid: its name, which nobody can guess.
        phase: where it begins.
        interval: between two pings, seconds.
        timeout: how long a pong may take, seconds.
        most: bytes of one HTTP body or WebSocket message.
    """
    handshake = {
        "sid": sid,
        "upgrades": ["websocket"] if phase is Phase.POLLING else [],
        "pingInterval": round(interval * 1000),
        "pingTimeout": round(timeout * 1000),
        "maxPayload": most,
    }
    return "0" + json.dumps(handshake, separators=(",", ":"))


def encode_body(packets: Iterable[str | bytes]) -> bytes:
    """Packets as one HTTP body; bytes are messages."""
    return SEPARATOR.join(map(_text, packets)).encode()


def piece(packet: str | bytes) -> bytes:
    """One packet of an HTTP body, with its separator; pieces are joined, and the last separator is left out."""
    return (_text(packet) + SEPARATOR).encode()


def frame(packet: str | bytes) -> bytes:
    """The WebSocket frame of one packet; bytes are a message."""
    return text_frame(packet.encode()) if isinstance(packet, str) else binary_frame(packet)


def reframe(pieces: bytes) -> bytes:
    """What `piece` made, as what `frame` makes: the queue of a session that moves to a WebSocket."""
    return b"".join(
        binary_frame(base64.b64decode(part[1:])) if part.startswith(b"b") else text_frame(part)
        for part in pieces.split(SEPARATOR.encode())
        if part
    )


def decode_body(body: bytes) -> list[str | bytes]:
    """The packets of one HTTP body of a bounded size, at least one.

    Raises:
        BadMessage: not UTF-8, too many packets, an empty one, or bad base64.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadMessage("a body is UTF-8") from None
    parts = text.split(SEPARATOR, PACKETS_A_BODY)
    if len(parts) > PACKETS_A_BODY:
        raise BadMessage(f"a body holds at most {PACKETS_A_BODY} packets")
    return [_packet(part) for part in parts]


def _packet(part: str) -> str | bytes:
    if not part:
        raise BadMessage("a packet has a type")
    if part[0] != "b":
        return part
    try:
        return base64.b64decode(part[1:], validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("binary data is base64") from None


def _text(packet: str | bytes) -> str:
    return packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode()
