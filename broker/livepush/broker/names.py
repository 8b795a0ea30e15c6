"""The grammar of channel names, event types and patterns, and the routing keys made of them.

A name is words of `[A-Za-z0-9_-]` joined by dots. That leaves out `#` and `*`, so no name can widen an AMQP binding,
and it keeps every routing key under AMQP's 255 bytes (7 + 180 + 1 + 60). Keys are made here and never parsed back: the
channel stands in the body.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from livepush.broker.errors import BadName

CHANNEL_BYTES = 180
TYPE_BYTES = 60
WORD = r"[A-Za-z0-9_-]+"

_NAME = re.compile(rf"{WORD}(?:\.{WORD})*", re.ASCII)
_WORD = re.compile(WORD, re.ASCII)
_PERSONAL = re.compile(r"user\.(?:[A-Za-z0-9_-]+|~[a-z2-7]+)", re.ASCII)
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}", re.ASCII)
_RULE = "words of A-Z a-z 0-9 _ - joined by dots"

VOID_KEY = "event.livepush.void"
CONTROL_IDENTITY_KEY = "control.identity"
CONTROL_OUTBOX_KEY = "control.outbox"
CONTROL_LOGOUT_KEY = "control.logout"
CONTROL_DISCONNECT_KEY = "control.disconnect"
CONTROL_REVOKE_KEY = "control.revoke"
MARKER_BEAT_KEY = "marker.beat"
RESERVED = ("user", "livepush")


def check_channel(name: object) -> str:
    """The name itself, if a message can be published to such a channel; else `BadName`."""
    text = _check("channel", name, CHANNEL_BYTES, personal=True)
    if text.partition(".")[0] == "user" and not _PERSONAL.fullmatch(text):
        raise BadName("channel", name, "a personal channel is user.<pk>; make it with personal_channel(pk)")
    return text


def is_channel(name: str) -> bool:
    """Whether `check_channel` takes it: the quick form for names that come from clients."""
    grammar = _PERSONAL if name.partition(".")[0] == "user" else _NAME
    return len(name) <= CHANNEL_BYTES and grammar.fullmatch(name) is not None


def check_type(name: object) -> str:
    """The event type itself, if it is one; else `BadName`."""
    return _check("event type", name, TYPE_BYTES)


def event_key(channel: str, type: str) -> str:  # noqa: A002 - the word of the protocol
    """Routing key of a logged event. Both names have been checked."""
    return f"event.{channel}.{type}"


def resync_key(channel: str | None) -> str:
    """Routing key of a publisher's own `resync` record for a channel; None: for all channels."""
    return "event.livepush.resync" if channel is None else f"event.{channel}.livepush.resync"


def live_key(channel: str, type: str) -> str:  # noqa: A002
    """Routing key of an event outside the promise: at most once, never logged."""
    return f"live.{channel}.{type}"


def marker_key(nonce: str) -> str:
    """Routing key of a daemon process's marker that proves that its log is bound. A nonce is one word."""
    return f"marker.{nonce}"


def personal_channel(pk: object) -> str:
    """A user's own channel: `user.<pk>`, or `user.~<base32>` for a primary key that is no word."""
    text = str(pk)
    if not _WORD.fullmatch(text):
        text = "~" + base64.b32encode(text.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=").lower()
    return check_channel(f"user.{text}")


@dataclass(frozen=True, slots=True)
class ChannelPattern:
    """A declared channel name: a plain name, or words of which some are placeholders, as in `orders.{order_id}`.

    A placeholder stands for exactly one word.
    """

    text: str
    arguments: tuple[str, ...] = field(init=False)
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise BadName("channel pattern", self.text, f"must be {_RULE}, where a word may be a {{placeholder}}")
        names: list[str] = []
        parts: list[str] = []
        for word in self.text.split("."):
            if placeholder := _PLACEHOLDER.fullmatch(word):
                if placeholder[1] in names:
                    raise BadName("channel pattern", self.text, f"the placeholder {word} stands twice")
                names.append(placeholder[1])
                parts.append(f"(?P<{placeholder[1]}>{WORD})")
            elif _WORD.fullmatch(word):
                parts.append(re.escape(word))
            else:
                why = f"{word!r} is neither a word of A-Z a-z 0-9 _ - nor a placeholder like {{order_id}}"
                raise BadName("channel pattern", self.text, why)
        if len(self.text) > CHANNEL_BYTES:
            raise BadName("channel pattern", self.text, f"at most {CHANNEL_BYTES} bytes")
        if parts[0] in RESERVED:
            raise BadName("channel pattern", self.text, f"names that begin with {parts[0]}. belong to livepush")
        object.__setattr__(self, "arguments", tuple(names))
        object.__setattr__(self, "_regex", re.compile(r"\.".join(parts), re.ASCII))

    @property
    def plain(self) -> bool:
        """Whether it names one channel only."""
        return not self.arguments

    def match(self, channel: str) -> dict[str, str] | None:
        """The placeholders' words if the channel is one of this pattern's, else None."""
        found = self._regex.fullmatch(channel)
        return None if found is None else found.groupdict()


def _check(what: str, name: object, limit: int, personal: bool = False) -> str:
    if not isinstance(name, str):
        raise BadName(what, name, f"must be a str, not {type(name).__name__}")
    if not (_NAME.fullmatch(name) or (personal and _PERSONAL.fullmatch(name))):
        raise BadName(what, name, f"must be {_RULE}")
    if len(name) > limit:
        raise BadName(what, name, f"at most {limit} bytes, this has {len(name)}")
    return name
