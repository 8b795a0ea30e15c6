"""A page goes on where it was, on another process: real daemons, killed, on RabbitMQ and on the embedded broker."""

from __future__ import annotations

from typing import Any

from django.utils.crypto import salted_hmac
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.backlog import Draft
from livepush.broker.envelope import Control, Event, Kind, encode_control, encode_event
from livepush.broker.names import CONTROL_IDENTITY_KEY, event_key
from livepush.broker.publisher import Publisher, PublisherSettings
from livepush.broker.url import BrokerURL
from tests.clients.page import Happening, Line, Page
from tests.clients.websocket import WebSocket, connect
from tests.servers.daemon import SECRET_KEY, Daemon, django_site
from tests.servers.ports import free_ports
from tests.servers.rabbitmq import shared_rabbitmq

DEADLINE = 60.0


class ResumeCase(SynchronousTestCase):
    """A publisher, daemons on ports of their own, and one page that goes from one to the other."""

    def setUp(self) -> None:
        self.page = Page("tab1")
        self.published = 0

    def start(self, port: int, *words: str, **environ: str) -> Daemon:
        """One daemon, ready."""
        daemon = Daemon(django_site(), "--port", str(port), *words, environ=environ)
        self.addCleanup(daemon.kill)
        daemon.wait_for("Feed ready")
        return daemon

    def make_publisher(self, url: BrokerURL) -> Publisher:
        """A process of the site."""
        publisher = Publisher(PublisherSettings(url))
        self.addCleanup(publisher.close, 0.0)
        return publisher

    def publish(self, publisher: Publisher, count: int) -> None:
        """So many events on `news`, numbered over the whole test."""
        for _ in range(count):
            self.published += 1
            body = encode_event(Event("news", "told", {"n": self.published}))
            publisher.publish(Draft(Kind.EVENT, event_key("news", "told"), body))

    def connect(self, port: int) -> tuple[WebSocket, Line]:
        """The page's next socket, which has said hello."""
        headers = [("Origin", f"http://127.0.0.1:{port}"), ("Cookie", django_site().cookie)]
        socket = connect(port, headers=headers, subprotocols=["livepush.v1"], deadline=DEADLINE)
        self.addCleanup(socket.close)
        line = self.page.open()
        socket.send_json(line.hello)
        return socket, line

    def receive(self, socket: WebSocket, line: Line, until: int) -> None:
        """The page hears what comes, up to this event and the welcome."""
        while not line.welcomed or (self.heard or [0])[-1] < until:
            for request in self.page.receive(line, socket.receive_json()):
                socket.send_json(request)

    @property
    def heard(self) -> list[int]:
        """The numbers of the events that the page was told."""
        return [each.message["data"]["n"] for each in self.page.happened if each.what == "event" and each.message]

    def other(self) -> list[Happening]:
        """What else it was told, and grants are nothing."""
        return [each for each in self.page.happened if each.what not in ("event", "granted", "dropped")]

    def assert_everything_once(self) -> None:
        """Nothing is missing, nothing came twice, and nothing had to be loaded again."""
        self.assertEqual(self.heard, list(range(1, self.published + 1)))
        self.assertEqual(self.other(), [])


class RabbitMQTests(ResumeCase):
    """Two processes and the broker of production."""

    def setUp(self) -> None:
        super().setUp()
        vhost = shared_rabbitmq().fresh_vhost()
        self.addCleanup(vhost.delete)
        self.url = vhost.url()

    def daemon(self, port: int) -> Daemon:
        """One daemon of this broker."""
        return self.start(port, LIVEPUSH_BROKER_URL=self.url)

    def test_killed(self) -> None:
        """A daemon is killed under traffic; the page goes on at its sibling, and then at the one that was started
        again, which knows only the log."""
        ports = free_ports(2)
        daemons = [self.daemon(port) for port in ports]
        publisher = self.make_publisher(BrokerURL.parse(self.url))
        socket, line = self.connect(ports[0])
        self.receive(socket, line, 0)
        for round_ in range(4):
            self.publish(publisher, 200)
            self.receive(socket, line, self.published - 120)
            daemons[round_ % 2].kill()
            self.publish(publisher, 100)
            self.page.lost(line)
            daemons[round_ % 2] = self.daemon(ports[round_ % 2])
            self.publish(publisher, 100)
            socket, line = self.connect(ports[(round_ + 1) % 2])
        self.receive(socket, line, self.published)
        self.assert_everything_once()

    def test_a_control_under_traffic(self) -> None:
        """A control message for everybody suspends and lets go on: nothing is missing, and nothing is in disorder."""
        (port,) = free_ports(1)
        self.daemon(port)
        publisher = self.make_publisher(BrokerURL.parse(self.url))
        socket, line = self.connect(port)
        self.receive(socket, line, 0)
        for _ in range(10):
            self.publish(publisher, 20)
            publisher.publish(Draft(Kind.CONTROL, CONTROL_IDENTITY_KEY, encode_control(Control("identity"))))
            self.publish(publisher, 20)
        self.receive(socket, line, self.published)
        self.assert_everything_once()


class EmbeddedTests(ResumeCase):
    """One command, nothing else installed; the broker dies with its process, so the page comes back to the same one."""

    def test_a_lost_socket(self) -> None:
        """What was published while the page was away comes when it is back; a new process can only say `reload`."""
        port, amqp = free_ports(2)
        words = ("--broker", f"embedded:{amqp}")
        daemon = self.start(port, *words)
        password = salted_hmac("livepush.embedded", "password", SECRET_KEY, algorithm="sha256").hexdigest()
        publisher = self.make_publisher(BrokerURL.parse(f"embedded:{amqp}", embedded_password=password))
        socket, line = self.connect(port)
        self.receive(socket, line, 0)
        self.publish(publisher, 50)
        self.receive(socket, line, 20)
        socket.close()
        self.page.lost(line)
        self.publish(publisher, 50)
        self.assertEqual(publisher.flush(DEADLINE), 0)
        socket, line = self.connect(port)
        self.receive(socket, line, self.published)
        self.assert_everything_once()

        publisher.close(0.0)
        daemon.kill()
        self.page.lost(line)
        self.start(port, *words)
        socket, line = self.connect(port)
        self.receive(socket, line, 0)
        told: list[Any] = [(each.what, each.channel) for each in self.other()]
        self.assertIn(("resync", "news"), told)
