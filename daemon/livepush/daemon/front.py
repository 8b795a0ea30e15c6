"""What all endpoints of a process share, and what each of them asks before it lets a client in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from livepush.daemon.addresses import Proxies
from livepush.daemon.admission import Admission
from livepush.daemon.cors import Origins
from livepush.daemon.heartbeat import Heartbeat
from livepush.daemon.hub import Hub
from livepush.daemon.interfaces import Identity
from livepush.daemon.settings import Limits

NOT_READY = "This process is not ready: it has no broker."
FULL = "This process has as many connections as it may."
OVERLOADED = "So many visitors wait to be looked up that no more are let in now."
OVERLOADED_SECONDS = 2
CROWDED = "There are as many connections from this address as there may be."
CROWDED_SECONDS = 30


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
        proxies: that are believed who a client is.
        is_overloaded: whether a new connection would be closed at once, because nobody can say now whose it is.
        heartbeat: of all connections; whoever makes one adds it, and discards it when it has gone.
        admission: who is let in.
        refused: how many were not, by a word for why.
    """

    hub: Hub
    identity: Identity
    origins: Origins
    limits: Limits
    clock: IReactorTime
    is_ready: Callable[[], bool]
    proxies: Proxies = field(default_factory=Proxies)
    is_overloaded: Callable[[], bool] = lambda: False
    heartbeat: Heartbeat = field(init=False)
    admission: Admission = field(init=False)
    refused: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heartbeat", Heartbeat(self.limits.heartbeat_seconds, self.clock))
        object.__setattr__(self, "admission", Admission(self.limits, self.proxies, self.hub.visitors))

    def adopt(self, limits: Limits, origins: Origins) -> None:
        """Other limits and origins, for who comes from now on."""
        object.__setattr__(self, "limits", limits)
        object.__setattr__(self, "origins", origins)
        self.admission.limits = limits

    def closed_because(self, place: str | None) -> tuple[str, int] | None:
        """Why there can be no new connection now, and after how many seconds to ask again; None: there can.

        Args:
            place: where it would come from; None: from nowhere that is counted.
        """
        if not self.is_ready():
            self.refused["not_ready"] += 1
            return NOT_READY, 1
        if self.hub.connections >= self.limits.connections:
            self.refused["full"] += 1
            return FULL, 5
        if self.is_overloaded():
            self.refused["overloaded"] += 1
            return OVERLOADED, OVERLOADED_SECONDS
        if self.admission.is_crowded(place):
            self.refused["crowded"] += 1
            return CROWDED, CROWDED_SECONDS
        return None
