"""Tests of livepush.daemon.socketio and livepush.daemon.socketiolink."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from livepush.broker.envelope import Control, Event
from livepush.daemon.engineio import EngineSession
from livepush.daemon.entitlement import Snapshot
from livepush.daemon.front import FULL, Front
from livepush.daemon.hub import Hub
from livepush.daemon.origin import OriginSettings
from livepush.daemon.settings import Limits
from livepush.daemon.socketio import CONNECT_SECONDS, MOST_CONNECTS, SocketIO
from livepush.daemon.socketiolink import SocketIOLink, accept
from livepush.wire.closing import Close
from livepush.wire.engineio import Phase, Refused
from tests.unit.daemon.doubles import FakeIdentity, make_client, make_hub, make_moderator
from tests.unit.daemon.engines import TIMES, FakeSocket, Request, make_session, poll, post


class Page:
    """A client of a hub, over one session; `packets` are those it has got, without pings."""

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        snapshot: Snapshot | None,
        phase: Phase = Phase.POLLING,
        limits: Limits | None = None,
        waits: bool = False,
    ) -> None:
        limits = limits or Limits()
        self.identity = FakeIdentity(snapshot, waits)
        self.front = Front(hub, self.identity, OriginSettings(), limits, clock, lambda: True)
        self.session: EngineSession = make_session(clock, phase, limits)
        self.session.app = SocketIO(self.session, partial(accept, self.front), limits, clock, TIMES.connect)
        self.socket = FakeSocket()
        self.request: Request | None = None
        self.packets: list[str] = []
        if phase is Phase.WEBSOCKET:
            self.session.opened(self.socket)
            self.look()
            self.packets.clear()

    def says(self, packet: str) -> list[str]:
        """Sends one message of Socket.IO; what came since the last look."""
        if self.session.is_polling:
            post(self.session, f"4{packet}".encode())
        else:
            self.session.framed(self.socket, f"4{packet}")
        return self.look()

    def polls(self) -> list[str]:
        """Takes what waits, and polls, unless a poll waits."""
        found = self.look()
        if self.request is None and self.session.is_polling:
            self.request = poll(self.session)
            found += self.look()
        return found

    def look(self) -> list[str]:
        """What came since the last look."""
        got = self.socket.packets()
        if self.request is not None and self.request.body is not None:
            got = [*self.request.body.decode().split("\x1e"), *got]
            self.request = None
        got = [packet for packet in got if packet not in ("2", "3probe", "6")]
        self.packets += got
        return got

    def probe(self) -> None:
        """The first half of an upgrade."""
        self.session.attach(self.socket)
        self.session.framed(self.socket, "2probe")
        self.look()

    def upgrade(self) -> None:
        """The second."""
        self.session.framed(self.socket, "5")

    def link(self) -> SocketIOLink:
        """Its member of the namespace."""
        return cast(SocketIOLink, cast(SocketIO, self.session.app).members["/"])

    def numbers(self) -> list[int]:
        """Of the events that came."""
        events = [json.loads(packet[2:]) for packet in self.packets if packet.startswith("42")]
        return [event[1]["n"] for event in events if event[0] == "lock"]


class SocketIOCase(SynchronousTestCase):
    """A hub with a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = make_hub(self.clock)
        self.published = 0

    def page(self, phase: Phase = Phase.POLLING, snapshot: Snapshot | None = None, **options: Any) -> Page:
        """A page of a client, connected."""
        page = Page(self.hub, self.clock, snapshot or make_client(), phase, **options)
        page.says("0")
        page.polls()
        return page

    def publish(self, pad: str = "") -> int:
        """One event; its number."""
        self.published += 1
        event = Event("orders", "lock", {"n": self.published, "pad": pad})
        self.hub.event(event, f"p-{self.published}", 0, 50)
        self.hub.flush()
        return self.published


class NamespaceTests(SocketIOCase):
    """Who is in which namespace."""

    def test_connect(self) -> None:
        """CONNECT is answered, then the first position comes."""
        for phase in (Phase.POLLING, Phase.WEBSOCKET):
            connect, welcome = self.page(phase).packets
            self.assertEqual(set(json.loads(connect.removeprefix("40"))), {"sid", "pid"})
            name, told, at = json.loads(welcome[2:])
            self.assertEqual((name, told["user"]), ("livepush:welcome", 7))
            self.assertIsInstance(at, str)

    def test_no_connect(self) -> None:
        """A session that enters no namespace in time is over, also one that has left the only one."""
        page = Page(self.hub, self.clock, make_client())
        self.clock.advance(TIMES.connect)
        self.assertTrue(page.session.is_closed)
        page = self.page()
        self.clock.advance(TIMES.connect)
        self.assertFalse(page.session.is_closed)
        page.says("1")
        self.assertEqual(self.hub.connections, 0)
        self.assertFalse(page.session.is_closed)
        page.says("0")
        self.assertEqual(self.hub.connections, 1)
        page.says("1")
        self.clock.advance(TIMES.connect)
        self.assertTrue(page.session.is_closed)

    def test_invalid_namespace(self) -> None:
        """There is one namespace."""
        page = Page(self.hub, self.clock, make_client(), Phase.WEBSOCKET)
        self.assertEqual(page.says("0/admin,"), ['44/admin,{"message":"Invalid namespace"}'])

    def test_violations(self) -> None:
        """Events before CONNECT, a second CONNECT and what is no packet end the session."""
        for packets in (["2[1]"], ['2["a"]'], ["0", "0"], ["1"], ["3/x,1[]"], ["hello"], ['51-["a",{}]', "0"]):
            page = Page(self.hub, self.clock, make_client(), Phase.WEBSOCKET)
            for packet in packets:
                page.says(packet)
            self.assertTrue(page.session.is_closed, packets)
        self.assertEqual(self.hub.connections, 0)

    def test_left_under_way(self) -> None:
        """A page that leaves while it is looked up, or asks for something, is heard when it goes on."""
        for phase in (Phase.POLLING, Phase.WEBSOCKET):
            page = self.page(phase)
            page.identity.waits = True
            packets = ['420["livepush:subscribe",{"channel":"orders.5"}]', "41"]
            if phase is Phase.POLLING:
                self.assertEqual(post(page.session, "\x1e".join(packets).encode()).body, b"ok")
                self.assertEqual(post(page.session, b"3").body, b"ok")
            else:
                for packet in packets:
                    page.session.framed(page.socket, packet)
                self.assertFalse(page.socket.reading_paused)
            page.identity.waiting.pop().callback(True)
            page.identity.waits = False
            page.says("0")
            self.assertFalse(page.session.is_closed)
            self.assertEqual(self.hub.connections, 1)
            page.session.close("the client has left")

    def test_connects_under_way(self) -> None:
        """One body of a POST has no more than one look-up made, however many it asks for."""
        page = Page(self.hub, self.clock, make_client(), waits=True)
        with self.assertRaises(Refused):
            post(page.session, b"\x1e".join([b"40", b"41"] * 250))
        self.assertTrue(page.session.is_closed)
        self.assertEqual((len(page.identity.asked), self.hub.connections), (1, 0))

    def test_connects(self) -> None:
        """A page may leave and enter again, but not all the time."""
        page = Page(self.hub, self.clock, make_client(), Phase.WEBSOCKET)
        for _ in range(3):
            for _ in range(MOST_CONNECTS // 2):
                page.says("0")
                page.says("1")
            page.says("0")
            for _ in range(int(CONNECT_SECONDS // TIMES.interval)):
                self.clock.advance(TIMES.interval)
                page.session.framed(page.socket, "3")
            page.says("1")
        for _ in range(MOST_CONNECTS):
            self.assertFalse(page.session.is_closed)
            page.says("0")
            page.says("1")
        page.says("0")
        self.assertTrue(page.session.is_closed)
        self.assertEqual(self.hub.connections, 0)

    def test_full(self) -> None:
        """A session that was there in time does not make one connection more than there may be."""
        limits = Limits(connections=1)
        page = Page(self.hub, self.clock, make_client(), Phase.WEBSOCKET, limits)
        first = self.page(limits=limits)
        page.says("0")
        self.assertEqual(page.socket.finished_with, (4029, FULL))
        self.assertEqual((self.hub.connections, first.session.is_closed), (1, False))

    def test_acknowledgements_of_nothing(self) -> None:
        """A client may acknowledge what it likes."""
        page = self.page(Phase.WEBSOCKET)
        self.assertEqual(page.says("31[]"), [])
        self.assertFalse(page.session.is_closed)


class LinkTests(SocketIOCase):
    """A connection of the hub, over Socket.IO."""

    def test_events(self) -> None:
        """An event has its data and its position."""
        for phase in (Phase.POLLING, Phase.WEBSOCKET):
            page = self.page(phase)
            page.polls()
            number = self.publish()
            [packet] = page.look()
            name, data, at = json.loads(packet.removeprefix("42"))
            self.assertEqual((name, data["n"], at.split(".")[0]), ("lock", number, "me"))

    def test_between_polls(self) -> None:
        """What comes between two polls waits with the connection, and is one answer."""
        page = self.page()
        self.assertEqual([self.publish(), self.publish()], [1, 2])
        self.assertEqual(page.numbers(), [])
        page.polls()
        self.assertEqual(page.numbers(), [1, 2])

    def test_overflow(self) -> None:
        """A page that does not poll is told that it has missed something, in place of what it missed."""
        page = self.page(limits=Limits(outbound_bytes=4_096))
        for _ in range(10):
            self.publish("x" * 1_000)
        page.polls()
        names = [json.loads(packet[2:])[0] for packet in page.packets[2:]]
        self.assertEqual(names[0], "livepush:resync")
        self.assertFalse(page.session.is_closed)

    def test_taken_back(self) -> None:
        """What waits when a right is taken away is not delivered: between polls, before the first, in an upgrade."""
        for moment in ("between polls", "before the first", "after the upgrade", "in the upgrade"):
            page = Page(self.hub, self.clock, make_moderator(7))
            page.says("0")
            if moment != "before the first":
                page.polls()
            if moment == "in the upgrade":
                page.polls()
                page.probe()
            self.publish()
            page.identity.snapshot = make_client(7)
            self.hub.control(Control("identity", "7"))
            if moment == "after the upgrade":
                page.probe()
            if "upgrade" in moment:
                page.upgrade()
            page.polls()
            self.assertEqual(page.numbers(), [], moment)
            self.assertIn("livepush:back", "".join(page.packets), moment)

    def test_heartbeat(self) -> None:
        """The offset moves while nothing happens."""
        page = self.page(Phase.WEBSOCKET)
        page.link().connection.beat()
        [packet] = page.look()
        name, at = json.loads(packet[2:])
        self.assertEqual((name, at.split(".")[0]), ("livepush:heartbeat", "me"))

    def test_signs_of_life(self) -> None:
        """A client that answers pings lives, one whose packets do not come is put out by its pings."""
        page = self.page(Phase.WEBSOCKET)
        for _ in range(5):
            page.link().connection.beat()
            page.session.framed(page.socket, "3")
        self.assertFalse(page.session.is_closed)

    def test_close(self) -> None:
        """Codes from 4400 put the client out, which closes the transport itself; others make it come back."""
        for phase in (Phase.POLLING, Phase.WEBSOCKET):
            page = self.page(phase)
            page.polls()
            page.link().connection.close(Close.IDENTITY, "the login has ended")
            self.assertEqual((page.look(), page.session.is_closed), (["41"], False))
            self.clock.advance(TIMES.connect)
            self.assertTrue(page.session.is_closed)
            page = self.page(phase)
            page.polls()
            page.link().connection.close(Close.GOING_AWAY, "the process ends")
            self.assertTrue(page.session.is_closed)
            self.assertEqual(page.look(), ["1"] if phase is Phase.POLLING else [])
            self.assertEqual(self.hub.connections, 0)
        self.assertEqual(page.socket.finished_with, (4000, "the process ends"))

    def test_refused(self) -> None:
        """Before CONNECT is answered: CONNECT_ERROR, or the client comes back."""
        for phase in (Phase.POLLING, Phase.WEBSOCKET):
            page = Page(self.hub, self.clock, None, phase, waits=True)
            page.says("0")
            page.identity.waiting.pop(0).callback(None)
            page.polls()
            [packet] = page.packets
            self.assertEqual(
                json.loads(packet.removeprefix("44")), {"message": "not logged in", "data": {"code": 4401}}
            )
            self.assertFalse(page.socket.reading_paused)
            if phase is Phase.POLLING:
                self.assertEqual(post(page.session, b"1").body, b"ok")

    def test_asked_for_too_much(self) -> None:
        """What a page authenticates with has a form."""
        for auth in ({"tab": 5}, {"channels": "orders"}, {"channels": [1]}, {"channels": ["a"] * 101}):
            page = Page(self.hub, self.clock, make_client(), Phase.WEBSOCKET)
            [packet] = page.says(f"0{json.dumps(auth)}")
            self.assertTrue(packet.startswith("44{"), packet)

    @given(
        st.lists(st.sampled_from(["publish", "publish", "poll", "probe", "5", "cut", "control", "block", "unblock"]))
    )
    def test_any_order(self, steps: list[str]) -> None:
        """Whatever happens in whatever order between polling and WebSocket: each event comes once, in order."""
        self.setUp()
        page = self.page()
        for step in steps:
            phase = page.session.machine.phase
            match step:
                case "publish":
                    self.publish()
                case "poll":
                    page.polls()
                case "control":
                    self.hub.control(Control("identity", "7"))
                case "probe" if phase is Phase.POLLING:
                    page.probe()
                case "5" if phase is Phase.UPGRADING:
                    page.upgrade()
                case "cut" if phase is Phase.UPGRADING:
                    page.session.detached(page.socket)
                case "block" if phase is Phase.WEBSOCKET:
                    page.session.block(page.socket)
                case "unblock" if phase is Phase.WEBSOCKET:
                    page.session.unblock(page.socket)
            page.look()
        if page.session.machine.phase is Phase.UPGRADING:
            page.upgrade()
        page.session.unblock(page.socket)
        page.polls()
        page.look()
        page.polls()
        self.assertEqual(page.numbers(), list(range(1, self.published + 1)))
