"""A command line and a Django site become one daemon."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from twisted.internet.address import IPv4Address
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from livepush.daemon import identity
from livepush.daemon.errors import BadOption
from livepush.daemon.lifecycle import Daemon
from livepush.daemon.options import CommandLine
from livepush.daemon.service import make_service

SECRET = "canary-of-a-password"


class MakeServiceTests(SynchronousTestCase):
    """`make_service`, without a network."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def make(self, **given: Any) -> Daemon:
        """The daemon of the tests' Django site."""
        return make_service(CommandLine(**given), self.reactor, identity.site(self.reactor))

    def test_the_settings_port(self) -> None:
        """Without options it listens on LIVEPUSH_PORT, for this machine only."""
        self.make().privilegedStartService()
        self.assertEqual([(port, host) for port, _, _, host in self.reactor.tcpServers], [(8989, "127.0.0.1")])

    def test_everything_is_served(self) -> None:
        """Each transport answers at its path, and SockJS also at the prefixes of the settings, ready or not."""
        with override_settings(LIVEPUSH_SOCKJS_PREFIXES=["/orders", "/a/b"]):
            self.make().privilegedStartService()
        ((_, web, _, _),) = self.reactor.tcpServers
        for path, status in (
            (b"/livepush/ws", 426),
            (b"/livepush/sse", 200),
            (b"/livepush/sockjs/info", 503),
            (b"/orders/info", 503),
            (b"/a/b/info", 503),
            (b"/a/info", 404),
            (b"/socket.io/?EIO=4&transport=polling&sid=none", 400),
        ):
            transport = StringTransport(peerAddress=IPv4Address("TCP", "10.0.0.1", 4000))
            protocol: Any = web.buildProtocol(transport.getPeer())
            protocol.makeConnection(transport)
            protocol.dataReceived(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(int(transport.value().split()[1]), status, path)

    def test_several_addresses(self) -> None:
        """Every `--listen` is opened."""
        self.make(listen=("tcp:8001:interface=127.0.0.1", "unix:/tmp/x.sock")).privilegedStartService()
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [8001])
        self.assertEqual([path for path, *_ in self.reactor.unixServers], ["/tmp/x.sock"])

    def test_an_embedded_broker(self) -> None:
        """`embedded:PORT` opens the broker's port beside the clients', and says what it is not for."""
        daemon = self.make(broker="embedded:5700")
        daemon.privilegedStartService()
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [5700, 8989])
        self.assertEqual({host for *_, host in self.reactor.tcpServers}, {"127.0.0.1"})
        self.assertIn("one machine", daemon._warnings[0])
        self.assertIn("LIVEPUSH_BROKER_URL", daemon._warnings[0])

    def test_a_password_that_all_can_read(self) -> None:
        """A password on the command line is warned of, and not repeated."""
        daemon = self.make(broker=f"amqp://push:{SECRET}@127.0.0.1/")
        self.assertEqual(len(daemon._warnings), 1)
        self.assertIn("LIVEPUSH_BROKER_URL", daemon._warnings[0])
        self.assertNotIn(SECRET, daemon._warnings[0])
        self.assertEqual(self.make(broker="amqp://127.0.0.1/")._warnings, ())

    def test_endpoints_that_twisted_cannot_open(self) -> None:
        """The message names the option, what Twisted says, and a right one."""
        for text in ("tpc:8989", "tcp:http", "tcp:8989:nonsense=1", "ssl:8443:privateKey=/nowhere/key.pem", "tcp:"):
            error = self.assertRaises(BadOption, self.make, listen=(text,))
            self.assertIn(f"--listen {text!r}", str(error))
            self.assertIn("tcp:8989:interface=127.0.0.1", str(error))

    def test_a_log_that_is_shorter_than_the_memory(self) -> None:
        """A log that forgets what this process would read of it is refused, also where the check is silenced."""
        with override_settings(LIVEPUSH_RING_SECONDS=540, SILENCED_SYSTEM_CHECKS=["livepush.E011"]):
            error = self.assertRaises(BadOption, self.make)
        self.assertIn("LIVEPUSH_LOG_SECONDS 600: must be above LIVEPUSH_RING_SECONDS + 60 = 600", str(error))

    def test_certificates_that_are_not_there(self) -> None:
        """A broker's certificate that can't be read is told at the start, not at each attempt to connect."""
        broker = f"amqps://push:{SECRET}@127.0.0.1/?cacertfile=/nowhere/ca.pem"
        error = self.assertRaises(BadOption, self.make, broker=broker)
        self.assertIn("--broker", str(error))
        self.assertIn("/nowhere/ca.pem", str(error))
        self.assertNotIn(SECRET, str(error))

    def test_a_redis(self) -> None:
        """Presence is kept in the Redis of the settings; a certificate that can't be read is told at the start."""
        with override_settings(LIVEPUSH_REDIS_URL=f"redis://:{SECRET}@10.0.0.7/1"):
            daemon = self.make()
        self.assertNotIn(SECRET, repr(vars(daemon._presence)))
        with override_settings(LIVEPUSH_REDIS_URL=f"rediss://:{SECRET}@10.0.0.7/1?cacertfile=/nowhere/ca.pem"):
            error = self.assertRaises(BadOption, self.make)
        self.assertIn("LIVEPUSH_REDIS_URL 'rediss://10.0.0.7:6379/1': ", str(error))
        self.assertIn("/nowhere/ca.pem", str(error))
        self.assertNotIn(SECRET, str(error))

    def test_a_wrong_redis(self) -> None:
        """An address that is none is told at the start."""
        with override_settings(LIVEPUSH_REDIS_URL=f"http://:{SECRET}@10.0.0.7/1"):
            error = self.assertRaises(ImproperlyConfigured, self.make)
        self.assertIn("LIVEPUSH_REDIS_URL", str(error))
        self.assertNotIn(SECRET, str(error))
