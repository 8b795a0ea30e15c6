"""A visitor who listens in four wire formats at two processes of the daemon."""

from __future__ import annotations

import secrets

from tests.acceptance.revocation.ears import Ear, SocketEar, StreamEar, engineio, sockjs
from tests.acceptance.security.case import SecurityCase
from tests.acceptance.security.world import Visitor


class EarsCase(SecurityCase):
    """See the module."""

    @property
    def ports(self) -> tuple[int, int]:
        """Of the two processes."""
        return self.world.port, self.world.legacy_port

    def ears(self, visitor: Visitor) -> list[Ear]:
        """Native, server-sent events, SockJS and Socket.IO, at each process; these two by long polling."""
        found: list[Ear] = []
        for port in self.ports:
            found += [
                SocketEar(self.page(visitor, port=port)),
                StreamEar(self.stream(visitor, port=port)),
                sockjs(self.sockjs(visitor, port=port), visitor, port),
                engineio(self.polled(visitor, port=port), visitor, port),
            ]
        for ear in found:
            self.addCleanup(ear.close)
            ear.start()
        return found

    def mark(self, ears: list[Ear], visitor: Visitor) -> None:
        """Waits until all of them have heard an event that is published now, on the visitor's own channel: that is his
        whatever his rights are, so that no `back`, which is a reload, stands for the event."""
        word = f"mark{secrets.token_hex(6)}"
        self.world.publish("mark", {"word": word}, f"user.{visitor.user}")
        for ear in ears:
            self.assertTrue(ear.wait_for(word), ear.raw[-300:])
