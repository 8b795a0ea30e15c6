"""SockJS, protocol 0.3.4: a session of messages over a WebSocket or over HTTP.

Under a prefix, `<server>` and `<session>` being parts without dots that the client makes up (the first means nothing):

    GET  /  (or nothing)                          a greeting
    GET  /info                                    {"websocket", "origins", "cookie_needed", "entropy"}
    GET  /iframe*.html                            the page of the iframe transports (`sockjshttp`)
    GET  /websocket                               raw WebSocket: messages as they are, none of what follows
    GET  /<server>/<session>/websocket            the frames below, one in a text message
    POST /<server>/<session>/xhr                  answered with the next frame      these open a session, and are its
    POST /<server>/<session>/xhr_streaming        frames, until enough was sent     receiver: it has one at a time
    GET  /<server>/<session>/eventsource          likewise, as server-sent events
    GET  /<server>/<session>/htmlfile?c=          likewise, as scripts of a page that goes on loading
    GET  /<server>/<session>/jsonp?c=             the next frame, as a script
    POST /<server>/<session>/xhr_send             an array of messages: 204. No such session: 404
    POST /<server>/<session>/jsonp_send           likewise, also as a form with the field `d`: `ok`

The server's frames, in UTF-8:

    o                       the session is open: its first frame
    h                       a sign of life
    a["...","..."]          messages
    c[3000,"Go away!"]      the session is over; said again to whoever still asks

The client sends messages only: `["...","..."]`, over WebSocket also `"..."`. A message is a text; the classic endpoints
send objects in its place, because sockjs-client hands on what it finds in the array.

Of what the server sends these characters are escaped, in lower case, because browsers have changed them on the way:
U+0000-001F, 007F-009F, 00AD, 0600-0604, 070F, 17B4-17B5, 200C-200F, 2028-202F, 2060-206F, FEFF, FFF0-FFFF, and all
above.

Source: https://github.com/sockjs/sockjs-protocol (0.3.3, with the additions of 0.3.4); sockjs-client 1.6.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable

from livepush.broker import strictjson
from livepush.wire.errors import BadMessage
from livepush.wire.frame import text_frame

OPEN = b"o"
HEARTBEAT = b"h"
MESSAGES = 1_000
"""Messages of one array; sockjs-client sends what gathered while its last POST was on the way."""

END = b"\x00"
"""A piece that ends a session: no JSON holds this byte."""

_UNSAFE = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0604\u070f\u17b4\u17b5\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff"
    "\U00010000-\U0010ffff]"
)


class TooLarge(BadMessage):
    """A message over the bound; the connection is closed with 4413."""


def close_frame(code: int, reason: str) -> bytes:
    """The frame that ends a session."""
    return b"c" + _escape(json.dumps([int(code), reason], ensure_ascii=False, separators=(",", ":")))


def quote(text: bytes) -> bytes:
    """A text, in UTF-8, as a JSON string with all escapes."""
    return _escape(json.dumps(text.decode(), ensure_ascii=False))


def escape(text: bytes) -> bytes:
    """A JSON text with all escapes; these characters stand nowhere but in its strings."""
    return text if text.isascii() and b"\x7f" not in text else _escape(text.decode())


def array(pieces: bytes) -> bytes:
    """The frame of joined pieces, at least one; each is an element and a comma."""
    return b"a[" + pieces[:-1] + b"]"


def message_piece(text: bytes) -> bytes:
    """A message for `array`."""
    return quote(text) + b","


def object_piece(text: bytes) -> bytes:
    """A JSON text, itself an element, for `array`."""
    return escape(text) + b","


def message_frame(text: bytes) -> bytes:
    """A message as a WebSocket frame of its own."""
    return text_frame(b"a[" + quote(text) + b"]")


def object_frame(text: bytes) -> bytes:
    """A JSON text, itself an element, as a WebSocket frame of its own."""
    return text_frame(b"a[" + escape(text) + b"]")


def raw_end(code: int, reason: str) -> bytes:
    """The WebSocket's own close frame (RFC 6455 section 5.5.1), for the raw transport.

    Args:
        code: of the close.
        reason: at most 123 bytes.
    """
    payload = struct.pack(">H", code) + reason.encode()
    return struct.pack(">BB", 0x88, len(payload)) + payload


def read_array(body: bytes, most: int, lone: bool = False) -> list[bytes]:
    """The messages of an array, in UTF-8.

    Args:
        body: JSON of a bounded size.
        most: bytes of one message.
        lone: a text that stands in no array is a message as well.

    Raises:
        TooLarge: a message has more.
        BadMessage: anything but an array of at most `MESSAGES` texts.
    """
    try:
        value = strictjson.loads(body, 1)
    except strictjson.NotJson as error:
        raise BadMessage(str(error)) from None
    if lone and isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(message, str) for message in value):
        raise BadMessage("messages are an array of texts")
    if len(value) > MESSAGES:
        raise BadMessage(f"an array has at most {MESSAGES} messages")
    messages = [message.encode() for message in value]
    if any(len(message) > most for message in messages):
        raise TooLarge(f"a message is at most {most} bytes")
    return messages


Frame = Callable[[bytes], bytes]
"""Makes of the JSON text of one message what a transport carries."""


def _escape(text: str) -> bytes:
    return (text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_escaped, text)).encode()


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f"
