"""SockJS over HTTP: how its receivers write frames, and what their requests may say. See `sockjs` for the protocol.

    receiver        method   content type             before the first frame        a frame
    -------------   ------   ----------------------   ---------------------------   -------------------------------
    xhr             POST     application/javascript                                 <frame> LF
    xhr_streaming   POST     application/javascript   2048 h LF                     <frame> LF
    eventsource     GET      text/event-stream        CR LF                         data: <frame> CR LF CR LF
    htmlfile        GET      text/html                a page of 1 KiB, and more     <script>p("<frame>");</script>
    jsonp           GET      application/javascript                                 /**/<callback>("<frame>");

What comes before is there because browsers do not show the beginning of a body to scripts. The callback of the last two
is a name of JavaScript, or several joined by dots, of at most 64 characters: it is written into a script that runs with
the rights of the page. `/**/` keeps it from being the start of a file of another kind (CVE-2014-4671).

The legacy transports (htmlfile, jsonp, iframe) let a page of any origin read: they are not restrained by CORS, so that
they have to be refused to other sites before anything is answered. They are off unless a site asks for them.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from livepush.wire.errors import BadMessage

CALLBACK_CHARS = 64
FORM_FIELDS = 10

_PART = re.compile(r"[^./]+")
_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z_$][A-Za-z0-9_$]*)*", re.ASCII)
_IFRAME = re.compile(r"iframe[0-9a-z_.-]{0,60}\.html", re.ASCII)

_HTMLFILE = """<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.{callback};
    c.start();
    function p(d) {{c.message(d);}};
    window.onload = function() {{c.stop();}};
  </script>"""

_IFRAME_PAGE = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{client}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>"""


class BadCallback(Exception):
    """A name that is written into no script.

    Attributes:
        why: for the answer, as the protocol's test suite wants it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of receiver or sender.

    Attributes:
        name: the last part of its path.
        method: of its requests.
        content_type: of the answer.
        streams: whether one answer carries many frames.
        legacy: whether it gets around CORS.
    """

    name: str
    method: str
    content_type: str
    streams: bool = False
    legacy: bool = False


XHR = Kind("xhr", "POST", "application/javascript; charset=UTF-8")
XHR_STREAMING = Kind("xhr_streaming", "POST", "application/javascript; charset=UTF-8", streams=True)
EVENTSOURCE = Kind("eventsource", "GET", "text/event-stream", streams=True)
HTMLFILE = Kind("htmlfile", "GET", "text/html; charset=UTF-8", streams=True, legacy=True)
JSONP = Kind("jsonp", "GET", "application/javascript; charset=UTF-8", legacy=True)
RECEIVERS = {kind.name: kind for kind in (XHR, XHR_STREAMING, EVENTSOURCE, HTMLFILE, JSONP)}

XHR_SEND = Kind("xhr_send", "POST", "text/plain; charset=UTF-8")
JSONP_SEND = Kind("jsonp_send", "POST", "text/plain; charset=UTF-8", legacy=True)
SENDERS = {kind.name: kind for kind in (XHR_SEND, JSONP_SEND)}


def prelude(kind: Kind, callback: str = "") -> bytes:
    """What stands before the first frame.

    Args:
        kind: of the receiver.
        callback: that `read_callback` has let through; of htmlfile only.
    """
    if kind is XHR_STREAMING:
        return b"h" * 2048 + b"\n"
    if kind is EVENTSOURCE:
        return b"\r\n"
    if kind is HTMLFILE:
        return _HTMLFILE.format(callback=callback).encode().ljust(1024) + b"\r\n\r\n"
    return b""


def wrap(kind: Kind, frame: bytes, callback: str = "") -> bytes:
    """A frame as this kind of receiver carries it; `callback` as above."""
    if kind is EVENTSOURCE:
        return b"data: " + frame + b"\r\n\r\n"
    if kind is HTMLFILE:
        return b"<script>\np(" + _script_text(frame) + b");\n</script>\r\n"
    if kind is JSONP:
        return b"/**/" + callback.encode() + b"(" + _script_text(frame) + b");\r\n"
    return frame + b"\n"


def read_callback(value: str | None) -> str:
    """The name of a function of the page.

    Raises:
        BadCallback: there is none, or it is no such name.
    """
    if not value:
        raise BadCallback('"callback" parameter required')
    if len(value) > CALLBACK_CHARS or not _CALLBACK.fullmatch(value):
        raise BadCallback('invalid "callback" parameter')
    return value


def read_form(body: bytes) -> bytes:
    """The field `d` of a form, in UTF-8; empty if there is none.

    Raises:
        BadMessage: no form.
    """
    try:
        fields = parse_qsl(body.decode(), errors="strict", max_num_fields=FORM_FIELDS)
    except ValueError:
        raise BadMessage("no form") from None
    return next((value.encode() for name, value in fields if name == "d"), b"")


def is_part(text: str) -> bool:
    """Whether this may be the name of a server or a session."""
    return len(text) <= 128 and _PART.fullmatch(text) is not None


def is_iframe(name: str) -> bool:
    """Whether that is a name of the iframe's page."""
    return _IFRAME.fullmatch(name) is not None


def iframe(client: str) -> tuple[bytes, str]:
    """The iframe's page, and its entity tag.

    Args:
        client: the address of sockjs-client.
    """
    page = _IFRAME_PAGE.format(client=html.escape(client)).encode()
    return page, f'"{hashlib.sha256(page).hexdigest()[:32]}"'


def info(websocket: bool, cookie_needed: bool, entropy: int) -> bytes:
    """What is served at a prefix; `entropy` is 32 random bits for clients that have none."""
    said = {"websocket": websocket, "origins": ["*:*"], "cookie_needed": cookie_needed, "entropy": entropy}
    return json.dumps(said, separators=(",", ":")).encode()


def _script_text(frame: bytes) -> bytes:
    # No "<" at all: "</script" would end the script, and "<!--<script" keep the one after it from ending.
    return json.dumps(frame.decode()).replace("<", "\\u003c").encode()
