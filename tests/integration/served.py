"""Endpoints of a daemon behind one real port, with a hub and visitors that are made up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import IResource

from livepush.broker.envelope import Event
from livepush.daemon.engineio import EngineSession
from livepush.daemon.front import Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.status import Status
from livepush.daemon.transport import EagerServer
from livepush.daemon.web import Web, resources
from livepush.wire.closing import Close
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub

ORIGIN = "http://testserver"
WAIT_SECONDS = 10.0


class ServedCase(TestCase):
    """Some endpoints of a daemon; what blocks runs in a thread.

    Attributes:
        limits: of its connections.
        origins: whose pages may come.
        hub, identity: doubles of what the daemon has.
        ready: whether there is a broker.
        served: the endpoints, by path.
        port: where.
    """

    limits = Limits(heartbeat_seconds=3_600.0)
    origins = OriginSettings(allowed=(ORIGIN,))
    served: Mapping[str, IResource]

    def endpoints(self, front: Front) -> Mapping[str, IResource]:
        """What is served."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.reactor = cast(Any, reactor)
        self.hub: Hub = make_hub(self.reactor)
        self.identity = FakeIdentity(make_client())
        self.ready = True
        self.published = 0
        self.front = Front(self.hub, self.identity, self.origins, self.limits, self.reactor, lambda: self.ready)
        self.served = self.endpoints(self.front)
        web = Web(resources(self.served, Status()), self.reactor, self.front.admission)
        port: Any = self.reactor.listenTCP(0, web, interface="127.0.0.1")
        port.transport = EagerServer
        self.port: int = port.getHost().port
        self.addCleanup(self.end_sessions)
        self.addCleanup(self.hub.close_all, Close.GOING_AWAY, "the test is over")
        self.addCleanup(port.stopListening)

    def end_sessions(self) -> Deferred[None]:
        """What has a timer, and the connections that twisted.web keeps open for the next request."""
        for endpoint in self.served.values():
            for session in list(getattr(endpoint, "sessions", {}).values()):
                if isinstance(session, EngineSession):
                    session.close("the test is over")
                else:
                    session.abort()
        for reader in self.reactor.getReaders():
            if isinstance(reader, EagerServer):
                cast(Any, reader).abortConnection()
        gone: Deferred[None] = Deferred()
        self.reactor.callLater(0, gone.callback, None)
        return gone

    def client(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Runs what blocks beside the reactor."""
        return deferToThread(work)

    def in_reactor(self, work: Callable[[], Any]) -> Any:
        """Runs something in the reactor's thread, from the client's."""
        return blockingCallFromThread(self.reactor, work)

    def until(self, there: Callable[[], Any]) -> None:
        """Lets the reactor turn until it has seen something; from the client's thread."""
        late = time.monotonic() + WAIT_SECONDS
        while not self.in_reactor(there):
            self.assertLess(time.monotonic(), late, "it did not come in time")

    def publish(self, *datas: dict[str, Any], kind: str = "lock") -> None:
        """Events of the channel `orders`, in one turn; from the client's thread."""
        self.release(*(Event("orders", kind, data) for data in datas))

    def release(self, *events: Event) -> None:
        """Events of the feed, in one turn; from the client's thread."""

        def release() -> None:
            for event in events:
                self.published += 1
                self.hub.event(event, f"p-{self.published}", 0, 100)
            self.hub.flush()

        self.in_reactor(release)

    def sessions(self) -> int:
        """Sessions of all transports; from the client's thread."""
        count: int = self.in_reactor(
            lambda: sum(len(getattr(endpoint, "sessions", {})) for endpoint in self.served.values())
        )
        return count
