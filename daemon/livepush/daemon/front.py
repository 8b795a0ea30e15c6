"""What all endpoints of a process share, and what each of them asks before it lets a client in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from livepush.daemon.cors import Origins
from livepush.daemon.heartbeat import Heartbeat
from livepush.daemon.hub import Hub
from livepush.daemon.interfaces import Identity
from livepush.daemon.settings import Limits

NOT_READY = "This process is not ready: it has no broker."
FULL = "This process has as many connections as it may."


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """The front of a process: every endpoint is made with it.

    Attributes:
        hub: all connections.
        identity: finds out who a client is.
        origins: whose pages may come.
        limits: the bounds of each connection.
        clock: the reactor.
        is_ready: whether new connections are served now.
        heartbeat: of all connections; whoever makes one adds it, and discards it when it has gone.
    """

    hub: Hub
    identity: Identity
    origins: Origins
    limits: Limits
    clock: IReactorTime
    is_ready: Callable[[], bool]
    heartbeat: Heartbeat = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heartbeat", Heartbeat(self.limits.heartbeat_seconds, self.clock))

    def closed_because(self) -> tuple[str, int] | None:
        """Why there can be no new connection now, and after how many seconds to ask again; None: there can."""
        if not self.is_ready():
            return NOT_READY, 1
        if self.hub.connections >= self.limits.connections:
            return FULL, 5
        return None
