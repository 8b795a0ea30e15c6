"""What the daemon is told at its start: the bounds of a connection, and the process's own settings.

Command line options and `LIVEPUSH_*` settings only build these; nothing else in the daemon reads either.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from livepush.daemon.ratelimit import Rate

MAX_CONNECTIONS = 1_000_000
"""More than this one process can't hold, so more is a slip of the keyboard."""


FRAMES = 4
"""For each message that may come."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one process and of each of its connections.

    Attributes:
        connections: open connections of the process; over it a handshake is answered 503.
        message_bytes: one message of a client; over it the connection is closed.
        message_depth: nesting of a client's JSON.
        outbound_bytes: what may wait for one client, or be replayed to it; over it its events give way to a `resync`.
        subscriptions: channels of one connection, its own and the declared ones included.
        message_rate: messages of a client per second, in the long run; what comes faster waits (see `inbox`).
        message_burst: messages that may come at once.
        user_connections: of one user; several of one tab count once. Over it 4429.
        address_connections: of one address, and TCP connections of it that have asked for nothing yet; over it 503.
        header_bytes: the head of one HTTP request; over it 431.
        request_seconds: what the head of a request may take, and then its body; over it 408.
        hello_seconds: how long a `livepush.v1` client may take to say `hello`; then 4408.
        heartbeat_seconds: between two signs of life that a client is sent.
        retry_ms: the least and the most that a client should wait before it comes back, milliseconds.
        messages: how often a client may say something.
        frames: how often there may be what a message is made of, and what is answered without one: WebSocket frames of
            any kind, Engine.IO's packets, requests on one socket.
    """

    connections: int = 10_000
    message_bytes: int = 65_536
    message_depth: int = 32
    outbound_bytes: int = 2**20
    subscriptions: int = 100
    message_rate: int = 20
    message_burst: int = 40
    user_connections: int = 50
    address_connections: int = 1_000
    header_bytes: int = 16_384
    request_seconds: float = 10.0
    hello_seconds: float = 10.0
    heartbeat_seconds: float = 25.0
    retry_ms: tuple[int, int] = (500, 20_000)
    messages: Rate = field(init=False, repr=False, compare=False)
    frames: Rate = field(init=False, repr=False, compare=False)

    @property
    def body_bytes(self) -> int:
        """The body of one HTTP request: some messages, and what quoting adds to them, which is five times as much."""
        return 8 * self.message_bytes + 1_024

    def __post_init__(self) -> None:
        _whole(self, "connections", 1, MAX_CONNECTIONS)
        _whole(self, "message_bytes", 256, 16 * 2**20)
        _whole(self, "message_depth", 4, 256)
        _whole(self, "outbound_bytes", 4_096, 2**30)
        _whole(self, "subscriptions", 1, 100_000)
        _whole(self, "message_rate", 1, 1_000_000)
        _whole(self, "message_burst", 1, 1_000_000)
        _whole(self, "user_connections", 1, MAX_CONNECTIONS)
        _whole(self, "address_connections", 1, MAX_CONNECTIONS)
        _whole(self, "header_bytes", 1_024, 1_048_576)
        _seconds(self, "request_seconds", 0.1, 3_600)
        _seconds(self, "hello_seconds", 0.1, 3_600)
        _seconds(self, "heartbeat_seconds", 0.1, 3_600)
        rate, burst = self.message_rate, self.message_burst
        object.__setattr__(self, "messages", Rate(rate, burst))
        object.__setattr__(self, "frames", Rate(FRAMES * rate, FRAMES * burst))
        pair = self.retry_ms
        numbers = isinstance(pair, tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
        if not numbers or not 1 <= pair[0] <= pair[1] <= 3_600_000:
            raise ValueError(
                f"Limits.retry_ms {pair!r}: must be two whole numbers (least, most), milliseconds, "
                "1 to 3600000, least first, such as (500, 20000)"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """One daemon process.

    Attributes:
        listen: endpoint descriptions in Twisted's form, such as `tcp:8989:interface=127.0.0.1`; at least one.
        limits: the bounds of its connections.
        status_token: who shows it as a bearer token may read `/healthz` and `/readyz` from anywhere; None: nobody.
        drain_seconds: over how long clients are sent to other processes before an orderly end; 0: there are none.
        stop_seconds: the whole time that the rest of an orderly end may take, whatever hangs.
        instance: names this process among the others of this machine, in the broker's list of queues.
    """

    listen: tuple[str, ...] = ("tcp:8989:interface=127.0.0.1",)
    limits: Limits = field(default_factory=Limits)
    status_token: str | None = field(default=None, repr=False)
    drain_seconds: float = 0.0
    stop_seconds: float = 4.5
    instance: str = "1"

    def __post_init__(self) -> None:
        if not self.listen or not all(isinstance(text, str) and text for text in self.listen):
            raise ValueError(
                f"Settings.listen {self.listen!r}: must name at least one endpoint, "
                "such as 'tcp:8989:interface=127.0.0.1'"
            )
        if self.status_token is not None and not (len(self.status_token) >= 16 and self.status_token.isascii()):
            raise ValueError(
                "Settings.status_token (not shown): must be at least 16 ASCII characters, "
                "such as the output of `openssl rand -hex 16`, or None"
            )
        _seconds(self, "drain_seconds", 0, 600)
        _seconds(self, "stop_seconds", 0.1, 60)
        if not self.instance or not all(char.isalnum() or char in "-_" for char in self.instance):
            raise ValueError(f"Settings.instance {self.instance!r}: must be letters, digits, - and _")


def _whole(settings: object, name: str, least: int, most: int) -> None:
    value = getattr(settings, name)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(
            f"{type(settings).__name__}.{name} {value!r}: must be a whole number from {least} to {most}, "
            f"such as {_default(settings, name)}"
        )


def _seconds(settings: object, name: str, least: float, most: float) -> None:
    value = getattr(settings, name)
    if type(value) not in (int, float) or not least <= value <= most:  # NaN compares false
        raise ValueError(
            f"{type(settings).__name__}.{name} {value!r}: must be seconds from {least} to {most}, "
            f"such as {_default(settings, name)}"
        )


def _default(settings: object, name: str) -> object:
    return next(each.default for each in fields(settings) if each.name == name)  # type: ignore[arg-type]
