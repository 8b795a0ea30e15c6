"""New settings: what changes, what is named, and what a broken file does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from django.test import override_settings
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import identity
from livepush.daemon.cors import Origins
from livepush.daemon.front import Front
from livepush.daemon.origin import OriginSettings
from livepush.daemon.reading import Reading
from livepush.daemon.reload import READ_SECONDS, Changes, Reload, Settled
from livepush.daemon.settings import Limits

KEY = b"k" * 32
SECRET = "amqp://user:canary@rabbit/"


def read(**settings: Any) -> Reading:
    """The tests' own site, with other settings."""
    with override_settings(**settings):
        return Reading.of(identity.site(MemoryReactorClock()), KEY)


class FakeFront:
    """Keeps what it is to adopt."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.origins: Origins | None = None

    def adopt(self, limits: Limits, origins: Origins) -> None:
        """Keeps it."""
        self.limits, self.origins = limits, origins


class ReadingTests(SynchronousTestCase):
    """What one process tells another."""

    def test_secrets(self) -> None:
        """That a secret is another one can be seen, what it is can't."""
        one, other = read(LIVEPUSH_BROKER_URL=SECRET), read(LIVEPUSH_BROKER_URL=SECRET + "x")
        self.assertNotIn("canary", one.dumps())
        self.assertNotEqual(one.settings["LIVEPUSH_BROKER_URL"], other.settings["LIVEPUSH_BROKER_URL"])
        self.assertEqual(one, read(LIVEPUSH_BROKER_URL=SECRET))

    def test_there_and_back(self) -> None:
        """A line says it all."""
        found = read()
        self.assertEqual(Reading.parse(found.dumps()), found)
        for text in ("", "[]", "[1, 2]", "[{}, {}]"):
            self.assertRaises(ValueError, Reading.parse, text)


class SettledTests(SynchronousTestCase):
    """What counts."""

    def setUp(self) -> None:
        self.front = FakeFront()
        self.drained: list[float | None] = []
        self.settled = Settled(read(), cast(Front, self.front), self.drained.append)

    def test_what_can_change(self) -> None:
        """Limits and origins are those of the new settings, and the names of what changed are told."""
        new = {
            "LIVEPUSH_MAX_CONNECTIONS": 5,
            "LIVEPUSH_RETRY": (1, 2),
            "LIVEPUSH_ALLOWED_ORIGINS": ["https://a.example"],
        }
        changes = self.settled.adopt(read(**new, LIVEPUSH_DRAIN_SECONDS=3))
        names = ("LIVEPUSH_MAX_CONNECTIONS", "LIVEPUSH_RETRY", "LIVEPUSH_DRAIN_SECONDS", "LIVEPUSH_ALLOWED_ORIGINS")
        self.assertEqual(changes, Changes(names))
        self.assertEqual((self.front.limits.connections, self.front.limits.retry_ms), (5, (1, 2)))
        self.assertEqual(self.front.limits, replace(Limits(), connections=5, retry_ms=(1, 2)))
        self.assertEqual(cast(OriginSettings, self.front.origins).allowed, ("https://a.example",))
        self.assertEqual(self.drained, [3])

    def test_what_cannot(self) -> None:
        """It is named each time as long as it is another value than the one that counts."""
        for _ in range(2):
            changes = self.settled.adopt(read(LIVEPUSH_PORT=1234, LIVEPUSH_BROKER_URL=SECRET))
            self.assertEqual(changes, Changes((), ("LIVEPUSH_BROKER_URL", "LIVEPUSH_PORT")))
        self.assertEqual(str(changes), "LIVEPUSH_BROKER_URL, LIVEPUSH_PORT will count from the next start")
        self.assertEqual(str(self.settled.adopt(read())), "nothing has changed")

    def test_hosts_of_django(self) -> None:
        """Django's own settings that say who may come count too."""
        changes = self.settled.adopt(read(CSRF_TRUSTED_ORIGINS=["https://b.example"]))
        self.assertEqual(changes.made, ("CSRF_TRUSTED_ORIGINS",))
        self.assertEqual(cast(OriginSettings, self.front.origins).trusted, ("https://b.example",))


class Reactor(MemoryReactorClock):
    """Starts processes that a test ends."""

    def __init__(self) -> None:
        MemoryReactorClock.__init__(self)
        self.processes: list[Any] = []
        self.killed: list[str] = []
        self.written = b""

    def spawnProcess(self, protocol: Any, *command: Any, **more: Any) -> None:
        """Begins one."""
        self.processes.append(protocol)
        protocol.makeConnection(self)

    def writeToChild(self, file: int, data: bytes) -> None:
        """Keeps it."""
        self.written += data

    def closeStdin(self) -> None:
        """Nothing."""

    def signalProcess(self, name: str) -> None:
        """Keeps it."""
        self.killed.append(name)

    def end(self, out: bytes = b"", error: bytes = b"", status: int = 0) -> None:
        """The oldest process ends."""
        reader = self.processes.pop(0)
        reader.outReceived(out)
        reader.errReceived(error)
        reader.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(0)))


class ReloadTests(SynchronousTestCase):
    """SIGHUP."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.adopted: list[Reading] = []
        self.told: list[str] = []
        self.reload = Reload(self.reactor, ["python"], {}, KEY, self.adopt, self)
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def adopt(self, reading: Reading) -> Changes:
        """Keeps it."""
        self.adopted.append(reading)
        return Changes(("LIVEPUSH_RETRY",))

    def reloading(self) -> None:
        """Keeps it."""
        self.told.append("reloading")

    def reloaded(self, remark: str) -> None:
        """Keeps it."""
        self.told.append(remark)

    def faults(self) -> list[str]:
        """What was logged as wrong."""
        return [event["fault"] for event in self.events if event["log_level"] is LogLevel.error]

    def test_new_settings(self) -> None:
        """They are adopted; what the site's own code prints before them does no harm."""
        self.reload.begin()
        self.assertEqual(self.reactor.written, KEY)
        reading = read()
        self.reactor.end(b"loading settings\n" + reading.dumps().encode() + b"\n")
        self.assertEqual(self.adopted, [reading])
        self.assertEqual(self.told, ["reloading", "settings read anew: LIVEPUSH_RETRY changed"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_broken_file(self) -> None:
        """Nothing is adopted, and the last line of what went wrong is logged."""
        self.reload.begin()
        self.reactor.end(error=b"some warning\nLIVEPUSH_PORT 'x': must be an int\n", status=1)
        self.assertEqual((self.adopted, self.faults()), ([], ["LIVEPUSH_PORT 'x': must be an int"]))
        self.assertEqual(self.told[1:], ["settings not read anew, see the log"])

    def test_another_version(self) -> None:
        """What is no reading, because the code on disk is newer, changes nothing."""
        self.reload.begin()
        self.reactor.end(b"[{}, {}, {}]\n")
        self.assertEqual(self.adopted, [])
        self.assertIn("not of this version", self.faults()[0])

    def test_settings_that_hang(self) -> None:
        """A settings module that does not end is ended."""
        self.reload.begin()
        self.reactor.advance(READ_SECONDS)
        self.assertEqual(self.reactor.killed, ["KILL"])
        self.reactor.end(status=9)
        self.assertIn("took longer than 30 s", self.faults()[0])

    def test_twice_at_once(self) -> None:
        """Who asks while they are read gets what is there after that, in one process at a time."""
        self.reload.begin()
        self.reload.begin()
        self.reload.begin()
        self.assertEqual(len(self.reactor.processes), 1)
        self.reactor.end(read().dumps().encode())
        self.assertEqual(len(self.reactor.processes), 1)
        self.reactor.end(read().dumps().encode())
        self.assertEqual((len(self.adopted), self.reactor.processes), (2, []))
