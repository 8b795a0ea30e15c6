"""What is sent to systemd, byte by byte, on a real socket."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon.notify import Notifier


class NotifierTests(SynchronousTestCase):
    """sd_notify(3)."""

    def listen(self, address: str) -> socket.socket:
        """Where systemd would."""
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(found.close)
        found.bind(address)
        found.setblocking(False)
        return found

    def make(self, address: str, **more: str) -> Notifier:
        """The notifier of an environment."""
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, **more}, pid=7)
        self.addCleanup(notifier.close)
        return notifier

    def test_one_message(self) -> None:
        """Each call is one datagram of lines; a value can't add a line of its own."""
        path = str(Path(mkdtemp()) / "notify")
        systemd = self.listen(path)
        self.make(path).tell(READY=1, STATUS="serving\nSTOPPING=1")
        self.assertEqual(systemd.recv(1000), b"READY=1\nSTATUS=serving STOPPING=1")

    def test_an_abstract_socket(self) -> None:
        """An address with `@` has no file."""
        systemd = self.listen(f"\0livepush-test-{id(self)}")
        self.make(f"@livepush-test-{id(self)}").tell(WATCHDOG=1)
        self.assertEqual(systemd.recv(1000), b"WATCHDOG=1")

    def test_without_systemd(self) -> None:
        """Nobody is told anything, and nothing fails; a watchdog that is meant for nobody is none."""
        notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000"})
        notifier.tell(READY=1)
        self.assertIsNone(notifier.watchdog_seconds)

    def test_nobody_listens(self) -> None:
        """A systemd that has gone does no harm, and is told once."""
        notifier = self.make(str(Path(mkdtemp()) / "nobody"))
        notifier.tell(READY=1)
        notifier.tell(READY=1)
        notifier.close()
        notifier.tell(READY=1)

    def test_the_watchdog(self) -> None:
        """Its time is seconds, and counts for the process that is named only."""
        path = str(Path(mkdtemp()) / "notify")
        for more, seconds in (
            ({"WATCHDOG_USEC": "15000000"}, 15.0),
            ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "7"}, 15.0),
            ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "8"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({}, None),
        ):
            self.assertEqual(self.make(path, **more).watchdog_seconds, seconds, more)

    def test_children_are_not_told(self) -> None:
        """What this process starts can't tell in its name."""
        environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
        Notifier.from_environment(environ).close()
        self.assertEqual(environ, {"HOME": "/"})
