"""Errors of the wire codecs."""

from __future__ import annotations


class BadMessage(Exception):
    """A client's message that is no message of this protocol; the connection is closed with 4400.

    Attributes:
        why: what is wrong, in words that may be sent to that client: never a part of the message.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
