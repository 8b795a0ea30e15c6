"""What makes the head of a request one that every server reads alike; anything else is refused with 400.

twisted.web refuses most of what smuggles requests (RFC 9112, 11.2), and takes what follows:

    what                               why not
    --------------------------------   -------------------------------------------------------------------------------
    no Host, two, or one that is       two servers may each take another site for the one that was asked (RFC 9112, 3.2)
    none
    a header folded over two lines     gone from HTTP (5.2), and read in two ways
    a name with an underscore          `X_Forwarded_For` and `X-Forwarded-For` are one where names become variables
    control characters, those of C1    some readers end a line at them (\\x0b, \\x1c, \\x85), Autobahn's for one
    included, as bytes or in UTF-8
    an address that is no path, or     a proxy's form (`GET http://...`), or what each server decodes in its own way
    not ASCII
    Transfer-Encoding other than       `identity` is gone from HTTP (RFC 9112, 7), and in HTTP/1.0 there is none at all
    chunked, or in HTTP/1.0

No twisted here, and nothing of a request in an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NO_HOST = "the request has no Host, or more than one"
BAD_HOST = "the Host is no name"
FOLDED = "a header is folded"
BAD_NAME = "the name of a header has an underscore"
CONTROL = "a header has control characters"
BAD_TARGET = "the address is no path"
BAD_CODING = "the body comes in a coding that is not chunked"

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_BYTES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f-\xff]")
_TARGET = re.compile(rb"/[\x21-\x7e]*|\*")
_HOST = re.compile(rb"(?:[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")


def of_line(line: bytes) -> str | None:
    """What is wrong with a line of the head, the first one or a header's; None: nothing."""
    if line[:1] in (b" ", b"\t"):
        return FOLDED
    if _BYTES.search(line) is not None:  # rare: text that is not ASCII
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        if _CONTROL.search(text) is not None:
            return CONTROL
    return None


def of_head(
    target: bytes, version: bytes, hosts: Sequence[bytes], names: Sequence[bytes], codings: Sequence[bytes]
) -> str | None:
    """What is wrong with a whole head; None: nothing.

    Args:
        target: of the first line.
        version: likewise, such as `HTTP/1.1`.
        hosts: the values of all Host headers.
        names: of all headers.
        codings: the values of all Transfer-Encoding headers.
    """
    if _TARGET.fullmatch(target) is None:
        return BAD_TARGET
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return NO_HOST
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        return BAD_HOST
    if any(b"_" in name for name in names):
        return BAD_NAME
    if codings and (version != b"HTTP/1.1" or len(codings) > 1 or codings[0].lower() != b"chunked"):
        return BAD_CODING
    return None
