"""How the broker says no: with the reply codes of AMQP 0-9-1 (1.2) and, where there is one, RabbitMQ's words."""

from __future__ import annotations

CONNECTION_FORCED = 320
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
FRAME_ERROR = 501
SYNTAX_ERROR = 502
COMMAND_INVALID = 503
CHANNEL_ERROR = 504
UNEXPECTED_FRAME = 505
RESOURCE_ERROR = 506
NOT_ALLOWED = 530
NOT_IMPLEMENTED = 540
INTERNAL_ERROR = 541

_WORDS = {
    CONNECTION_FORCED: "CONNECTION_FORCED",
    ACCESS_REFUSED: "ACCESS_REFUSED",
    NOT_FOUND: "NOT_FOUND",
    RESOURCE_LOCKED: "RESOURCE_LOCKED",
    PRECONDITION_FAILED: "PRECONDITION_FAILED",
    FRAME_ERROR: "FRAME_ERROR",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    COMMAND_INVALID: "COMMAND_INVALID",
    CHANNEL_ERROR: "CHANNEL_ERROR",
    UNEXPECTED_FRAME: "UNEXPECTED_FRAME",
    RESOURCE_ERROR: "RESOURCE_ERROR",
    NOT_ALLOWED: "NOT_ALLOWED",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    INTERNAL_ERROR: "INTERNAL_ERROR",
}
_SHORT_STRING = 255


class Refusal(Exception):
    """Attributes: `code`, and `text` as it is sent, at most 255 bytes of UTF-8."""

    def __init__(self, code: int, why: str) -> None:
        text = f"{_WORDS[code]} - {why}".encode()[:_SHORT_STRING].decode(errors="ignore")
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class ChannelRefused(Refusal):
    """Ends the channel that asked for it (AMQP's soft errors)."""


class ConnectionRefused(Refusal):
    """Ends the whole connection (AMQP's hard errors)."""
