"""What systemd passes is what is listened on, or the start ends with one line."""

from __future__ import annotations

import socket

from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import activation
from livepush.daemon.errors import BadOption

INET, OWN = "systemd:domain=INET:name=livepush", "tcp:8989:interface=127.0.0.1"


class CheckTests(SynchronousTestCase):
    """`--listen`, and sockets."""

    def setUp(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.socket.close)

    def passed(self, *names: str) -> ListenFDs:
        """As systemd would."""
        return ListenFDs([self.socket.fileno()] * len(names), names)

    def refused(self, listen: str, *names: str) -> str:
        """The line."""
        return str(self.assertRaises(BadOption, activation.check, [listen], self.passed(*names)))

    def test_right(self) -> None:
        """One that is passed and named, by its name or its place; or none at all."""
        activation.check([INET], self.passed("livepush"))
        activation.check(["systemd:domain=INET:index=0"], self.passed("livepush"))
        activation.check([INET, "systemd:domain=INET:name=two"], self.passed("two", "livepush"))
        activation.check([OWN], self.passed())
        self.assertEqual([activation.is_passed(each) for each in (INET, OWN)], [True, False])

    def test_wrong(self) -> None:
        """Each line says what was passed and where to write what."""
        for listen, names, told in (
            (INET, (), "systemd has passed no socket: start the process by its unit, with Sockets=livepush.socket"),
            (INET, ("a", "b"), "no socket of this name (FileDescriptorName=), but a, b"),
            (INET, ("livepush", "livepush"), "passed 2 sockets, and 1 of them under the name of another"),
            (INET, ("livepush", "other"), "a socket that no --listen names, other"),
            (OWN, ("livepush",), "add --listen systemd:domain=INET:name=livepush"),
            (INET.replace("INET", "INET6"), ("livepush",), "this socket's domain is INET: systemd:domain=INET:name="),
        ):
            self.assertIn(told, self.refused(listen, *names))

    def test_a_socket_that_blocks(self) -> None:
        """A unit without NonBlocking= is told of: the processes that share its socket would hang."""
        self.socket.setblocking(True)
        self.assertEqual(activation.warnings([INET], self.passed("livepush")), [activation.BLOCKING])
        self.socket.setblocking(False)
        self.assertEqual(activation.warnings([INET], self.passed("livepush")), [])
        self.assertEqual(activation.warnings([OWN], self.passed()), [])
